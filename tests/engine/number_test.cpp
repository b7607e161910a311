#include "engine/core/number.h"

#include <doctest/doctest.h>

using namespace retort;

TEST_CASE("numbers from text") {
  CHECK(number_of("0.5") == 0.5);
  CHECK(number_of("-1e-3") == -1e-3);
  CHECK(number_of("7") == 7.0);
  CHECK(number_of("0.1") == 0.1);
  for (const char* text : {"", " 1", "1 ", "+1", "0x10", "1e999", "1,5", "one", "1.5x"}) CHECK_FALSE(number_of(text));
}
