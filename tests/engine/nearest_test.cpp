#include "engine/core/nearest.h"

#include <doctest/doctest.h>

using namespace retort;

TEST_CASE("nearest: slips of the fingers are found, other words are not") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("train", "trian") == 1);  // two letters exchanged
  CHECK(edit_distance("kitten", "sitting") == 3);
  const std::vector<std::string> words = {"train", "distill", "predict", "--model", "--momentum", "--mean"};
  CHECK(nearest_word("trian", words) == "train");
  CHECK(nearest_word("Distil", words) == "distill");
  CHECK(nearest_word("--modle", words) == "--model");
  CHECK(nearest_word("pred", words) == "predict");  // the only one that begins so
  CHECK(nearest_word("--m", words).empty());
  CHECK(nearest_word("banana", words).empty());
  CHECK(nearest_word("--", words).empty());
  CHECK(did_you_mean("trian", words) == "; did you mean train?");
  CHECK(did_you_mean("banana", words).empty());
}
