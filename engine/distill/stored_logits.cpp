#include "engine/distill/stored_logits.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/core/check.h"
#include "engine/io/content_hash.h"
#include "engine/io/half.h"
#include "engine/io/npy_header.h"

namespace retort {
namespace {

constexpr std::size_t kPart = 1 << 20;  // bytes of a file that are read at once

template <class Number>
void put(std::uint8_t*& to, Number value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

template <class Number>
Number take(const std::uint8_t*& from) {
  Number value;
  std::memcpy(&value, from, sizeof value);
  from += sizeof value;
  return value;
}

void put_logit(std::uint8_t*& to, float value, bool half) {
  if (!half) return put(to, value);
  check(std::fabs(value) <= kMostHalf, "a logit is ", value, ", expected at most ", kMostHalf, " for f16; store f32");
  put(to, to_half(value));
}

float take_logit(const std::uint8_t*& from, bool half) {
  return half ? from_half(take<std::uint16_t>(from)) : take<float>(from);
}

/// log of the sum of exp, of which there is one at least.
double log_sum_exp(std::span<const float> logits) {
  const double most = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  return most + std::log(sum);
}

}  // namespace

std::string LogitEncoding::descr() const {
  const char* const number = half ? "'<f2'" : "'<f4'";
  if (top == 0) return number;
  return text("[('index', '<i4', (", top, ",)), ('logit', ", number, ", (", top, ",)), ('rest', '<f4')]");
}

std::size_t LogitEncoding::row_bytes(std::int64_t classes) const {
  const std::size_t width = half ? 2 : 4;
  return top == 0 ? static_cast<std::size_t>(classes) * width
                  : static_cast<std::size_t>(top) * (sizeof(std::int32_t) + width) + sizeof(float);
}

void LogitEncoding::encode(std::span<const float> row, std::span<std::uint8_t> to) const {
  std::uint8_t* at = to.data();
  if (top == 0) {
    for (const float logit : row) put_logit(at, logit, half);
    return;
  }
  std::vector<std::int32_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + top, order.end(), [&](std::int32_t a, std::int32_t b) {
    const float of_a = row[static_cast<std::size_t>(a)], of_b = row[static_cast<std::size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  for (std::int64_t i = 0; i < top; ++i) put(at, order[static_cast<std::size_t>(i)]);
  for (std::int64_t i = 0; i < top; ++i)
    put_logit(at, row[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])], half);
  const double all = log_sum_exp(row);
  double rest = 0;
  for (std::size_t i = static_cast<std::size_t>(top); i < row.size(); ++i)
    rest += std::exp(row[static_cast<std::size_t>(order[i])] - all);
  put(at, static_cast<float>(rest));
}

void LogitEncoding::decode(std::span<const std::uint8_t> from, std::span<float> row) const {
  const std::uint8_t* at = from.data();
  if (top == 0) {
    for (float& logit : row) logit = take_logit(at, half);
    return;
  }
  std::vector<std::int32_t> order(static_cast<std::size_t>(top));
  std::vector<float> logits(order.size());
  for (std::int32_t& index : order) index = take<std::int32_t>(at);
  for (float& logit : logits) logit = take_logit(at, half);
  const auto rest = take<float>(at);
  check(rest >= 0 && rest < 1, "the rest of a row is ", rest, ", expected a probability");
  check(std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }),
        "a logit is not finite, expected finite numbers");
  const double least = std::numeric_limits<float>::min();
  const double other = std::log(std::max<double>(rest, least)) - std::log1p(-static_cast<double>(rest)) +
                       log_sum_exp(logits) - std::log(static_cast<double>(row.size() - order.size()));
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  std::ranges::fill(row, kNone);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int32_t index = order[i];
    check(
        index >= 0 && static_cast<std::size_t>(index) < row.size() && std::isnan(row[static_cast<std::size_t>(index)]),
        "a row names class ", index, ", expected ", top, " different ones of ", row.size());
    row[static_cast<std::size_t>(index)] = logits[i];
  }
  for (float& logit : row)
    if (std::isnan(logit)) logit = static_cast<float>(other);
}

StoredLogits::StoredLogits(Tensor logits) : logits_(std::move(logits)) {
  check(logits_ && logits_.dtype() == DType::f32 && logits_.shape().rank() == 2, "logits of ", logits_.shape(),
        ", expected f32 [rows, classes]");
}

StoredLogits StoredLogits::open(const std::string& path, std::int64_t classes, const LogitEncoding& encoding) {
  InputFile input(path);
  const NpyHeader header = read_npy_header(input, path, /*structured=*/true);
  std::string descr = encoding.descr();
  if (encoding.top == 0) descr = descr.substr(1, descr.size() - 2);  // without its quotes
  check(header.descr == descr, path, ": dtype ", header.descr, ", expected ", descr,
        " as its index says; write the logits again with `retort logits`");
  check(encoding.top > 0 || header.shape.size() != 2 || header.shape[1] == classes, path, ": ",
        header.shape.empty() ? 0 : header.shape.back(), " logits a row, but ", classes,
        " classes; give logits of these very classes, one column each");
  const std::vector<std::int64_t> row =
      encoding.top == 0 ? std::vector<std::int64_t>{classes} : std::vector<std::int64_t>{};
  check(!header.fortran_order && !header.shape.empty() &&
            std::vector<std::int64_t>(header.shape.begin() + 1, header.shape.end()) == row,
        path, ": not an array of rows of ", classes, " classes; write the logits again with `retort logits`");
  const std::int64_t rows = header.shape[0];
  const std::uint64_t found = input.size() - header.data_at, each = encoding.row_bytes(classes);
  check(each > 0 && found % each == 0 && found / each == static_cast<std::uint64_t>(rows), path,
        ": cut short, or too long: ", found, " bytes of data, but ", rows, " rows of ", each,
        " bytes; write or copy it again");
  StoredLogits logits;
  logits.file_ = std::make_shared<const File>(File{path, std::move(input), encoding, rows, classes, header.data_at});
  return logits;
}

void StoredLogits::read(std::int64_t first, std::span<float> to) const {
  if (to.empty()) return;
  if (!file_) {
    std::memcpy(to.data(), logits_.data<float>() + first * classes(), to.size_bytes());
    return;
  }
  const auto columns = static_cast<std::size_t>(file_->classes);
  const std::size_t each = file_->encoding.row_bytes(file_->classes), count = to.size() / columns;
  std::vector<std::uint8_t> bytes(count * each);
  file_->input.read(file_->data_at + static_cast<std::uint64_t>(first) * each, bytes);
  try {
    for (std::size_t i = 0; i < count; ++i)
      file_->encoding.decode(std::span(bytes).subspan(i * each, each), to.subspan(i * columns, columns));
  } catch (const Error& error) {
    throw Error(text(file_->path, ": ", error.what(), "; write the logits again with `retort logits`"));
  }
}

void StoredLogits::each(const LogitSink& sink) const {
  if (!file_) {
    if (logits_) sink(logits_.span<float>());
    return;
  }
  const std::int64_t columns = classes(), part = std::max<std::int64_t>(kPart / (columns * sizeof(float)), 1);
  std::vector<float> values;
  for (std::int64_t row = 0; row < rows(); row += part) {
    values.resize(static_cast<std::size_t>(std::min(part, rows() - row) * columns));
    read(row, values);
    sink(values);
  }
}

Tensor StoredLogits::tensor() const {
  if (!file_) return logits_;
  Tensor all = Tensor::empty({rows(), classes()});
  float* to = all.data<float>();
  each([&](std::span<const float> values) { to = std::ranges::copy(values, to).out; });
  return all;
}

std::string StoredLogits::hash() const {
  ContentHash hash;
  each([&](std::span<const float> values) {
    hash.add({reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
  });
  return hash.digits();
}

}  // namespace retort
