#include "kernels/resize.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/case.h"
#include "tests/kernels/cpu_settings.h"

namespace retort {
namespace {

using test::uniform;

/// sum + weight * sample, each rounded to float apart, whatever the compiler fuses: doubles hold the product exactly,
/// and the sum well enough to be rounded once more.
float step(float sum, float weight, float sample) {
  const auto product = static_cast<float>(double{weight} * double{sample});
  return static_cast<float>(double{sum} + double{product});
}

std::vector<std::uint8_t> samples(std::int64_t count) {
  std::vector<std::uint8_t> bytes;
  for (const float value : uniform(count, 1, 0, 255.99f)) bytes.push_back(static_cast<std::uint8_t>(value));
  return bytes;
}

}  // namespace

TEST_CASE("resize: weighted sums of rows have the loops' bits at every instruction set") {
  test::for_each_cpu_setting([] {
    for (const std::int64_t n : {1, 3, 7, 8, 15, 16, 17, 31, 100, 257})
      for (const std::int64_t taps : {1, 2, 4, 9}) {
        CAPTURE(n);
        CAPTURE(taps);
        const std::int64_t stride = n + 5;
        const std::vector<std::uint8_t> rows = samples((taps - 1) * stride + n);  // ends with the last sample in use
        const std::vector<float> weights = uniform(taps, 2, 0, 1);
        std::vector<float> out(n + 1, -1);
        weigh_rows(n, rows.data(), stride, taps, weights.data(), out.data());
        for (std::int64_t i = 0; i < n; ++i) {
          float sum = 0;
          for (std::int64_t k = 0; k < taps; ++k) sum = step(sum, weights[k], rows[k * stride + i]);
          CHECK(out[i] == sum);
        }
        CHECK(out[n] == -1);
      }
  });
}

TEST_CASE("resize: filtered rows have the loops' bits at every instruction set") {
  test::for_each_cpu_setting([] {
    for (const std::int64_t channels : {1, 3})
      for (const std::int64_t outputs : {1, 2, 5, 33})
        for (const std::int64_t taps : {1, 3, 4, 8}) {
          CAPTURE(channels);
          CAPTURE(outputs);
          CAPTURE(taps);
          const std::int64_t pixels = 2 * outputs + taps;
          std::vector<std::int64_t> first;
          for (std::int64_t i = 0; i < outputs; ++i) first.push_back((i * 7) % (pixels - taps + 1));  // in any order
          const std::vector<float> weights = uniform(outputs * taps, 3, 0, 1);
          const RowFilter filter{outputs, taps, first.data(), weights.data()};
          std::vector<float> row = uniform(pixels * channels, 4, 0, 255);
          row.resize(row.size() + row_padding(filter));
          std::vector<float> out(outputs * channels + 1, -1);
          (channels == 3 ? filter_row_rgb : filter_row_grey)(filter, row.data(), out.data());
          for (std::int64_t i = 0; i < outputs; ++i)
            for (std::int64_t c = 0; c < channels; ++c) {
              float sum = 0;
              for (std::int64_t k = 0; k < taps; ++k)
                sum = step(sum, weights[i * taps + k], row[(first[i] + k) * channels + c]);
              CHECK(out[i * channels + c] == sum);
            }
          CHECK(out[outputs * channels] == -1);
        }
  });
}

}  // namespace retort
