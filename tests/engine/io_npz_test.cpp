#include "engine/io/npz.h"

#include <doctest/doctest.h>

#include "engine/io/npy.h"
#include "engine/io/zip.h"
#include "tests/engine/io_scratch.h"

using namespace retort;
using namespace retort::test;

TEST_CASE("npz: each array is a member of the archive, a .npy as it would stand alone") {
  const Scratch scratch;
  const float values[] = {1, 2, 3, 4, 5, 6};
  const std::int64_t counter[] = {7};
  const Tensor matrix = Tensor::from<float>({2, 3}, values), scalar = Tensor::from<std::int64_t>({}, counter);
  write_npz(scratch / "a.npz", {{"layers.0.weight", matrix}, {"n", scalar}});
  const ZipFile zip(scratch / "a.npz");
  REQUIRE(zip.members().size() == 2);
  CHECK(zip.members()[0].name == "layers.0.weight.npy");
  for (const auto& [name, tensor] : {std::pair{"layers.0.weight.npy", matrix}, std::pair{"n.npy", scalar}}) {
    write_npy(scratch / "alone.npy", tensor);
    const auto content = zip.content(*zip.find(name));
    CHECK(std::string(content.begin(), content.end()) == read_text(scratch / "alone.npy"));
  }
}
