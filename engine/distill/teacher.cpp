#include "engine/distill/teacher.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/distill/evaluate.h"

namespace retort {

CachedTeacher::CachedTeacher(LogitStore store, std::vector<std::int64_t> rows, bool any_view)
    : store_(std::move(store)), rows_(std::move(rows)), any_view_(any_view) {
  check(!any_view_ || store_.views == 1, "logit store: ", store_.views,
        " views, where one is to stand for all; train on these views");
}

void CachedTeacher::request_inputs(std::vector<Preprocessing>&) {}

Tensor CachedTeacher::logits(const Batch& batch, std::uint64_t view) {
  const std::int64_t classes = store_.logits.classes();
  Tensor result = Tensor::empty({static_cast<std::int64_t>(batch.indices.size()), classes});
  float* to = result.data<float>();
  for (std::size_t i = 0; i < batch.indices.size(); ++i) {
    const std::uint64_t seen = any_view_ ? 0 : batch.views.empty() ? view : batch.views[i];
    check(seen < static_cast<std::uint64_t>(store_.views), "logit store: view ", seen, " is not among its ",
          store_.views);
    const std::int64_t row = static_cast<std::int64_t>(seen) * store_.samples() + rows_[batch.indices[i]];
    store_.logits.read(row, {to, static_cast<std::size_t>(classes)});
    to += classes;
  }
  return result;
}

LiveTeacher::LiveTeacher(std::vector<Member> members, Combine combine, std::vector<double> weights)
    : members_(std::move(members)), combine_(combine), weights_(std::move(weights)), filters_(members_.size()) {
  check(!members_.empty(), "teacher: at least one network is needed");
}

void LiveTeacher::request_inputs(std::vector<Preprocessing>& preprocessings) {
  inputs_.clear();
  for (const Member& member : members_) {
    const auto found = std::find(preprocessings.begin(), preprocessings.end(), member.preprocessing);
    inputs_.push_back(found - preprocessings.begin());
    if (found == preprocessings.end()) preprocessings.push_back(member.preprocessing);
  }
}

Tensor LiveTeacher::logits(const Batch& batch, std::uint64_t) {
  std::vector<Tensor> outputs;
  for (std::size_t i = 0; i < members_.size(); ++i)
    outputs.push_back(infer(*members_[i].network, batch.inputs.at(inputs_.at(i)),
                            {.taps = layers_.empty() ? nullptr : &taps_, .filters = &filters_[i]}));
  return combine_logits(outputs, combine_, weights_);
}

void LiveTeacher::ask_for_outputs(std::vector<std::string> layers) {
  if (members_.size() > 1)
    throw UsageError(text("--hint: ", members_.size(), " teachers; give one, since each has layers of its own"));
  layers_ = std::move(layers);
  taps_.clear();
  for (const std::string& layer : layers_) taps_[layer] = {};
}

std::vector<Tensor> LiveTeacher::outputs() const {
  std::vector<Tensor> outputs;
  for (const std::string& layer : layers_) outputs.push_back(taps_.at(layer));
  return outputs;
}

namespace {

/// log sum_i exp(row[i])
double log_sum_exp(const float* row, std::int64_t classes) {
  const double top = *std::max_element(row, row + classes);
  double sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) sum += std::exp(row[i] - top);
  return top + std::log(sum);
}

}  // namespace

Tensor combine_logits(const std::vector<Tensor>& members, Combine combine, const std::vector<double>& weights) {
  if (members.size() == 1) return members.front();
  std::vector<Tensor> logits;
  logits.reserve(members.size());
  for (const Tensor& member : members) logits.push_back(member.to(Device::cpu));
  const std::int64_t rows = logits.front().shape()[0], classes = logits.front().shape()[1];
  check(weights.empty() || weights.size() == logits.size(), "teachers: ", weights.size(), " weights for ",
        logits.size(), " teachers; give one each");
  double all = 0;
  std::vector<double> shares = weights.empty() ? std::vector<double>(logits.size(), 1) : weights;
  for (const double share : shares) all += share;
  for (double& share : shares) share /= all;
  Tensor result = Tensor::empty({rows, classes});
  std::vector<double> mean(classes);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::fill(mean.begin(), mean.end(), 0.0);
    for (std::size_t k = 0; k < logits.size(); ++k) {
      const Tensor& member = logits[k];
      const double share = shares[k];
      check(member.shape() == result.shape(), "teachers: logits of shape ", member.shape(), " beside ", result.shape(),
            "; all teachers must have the same classes");
      const float* z = member.data<float>() + row * classes;
      const double log_partition = combine == Combine::logit ? 0 : log_sum_exp(z, classes);
      for (std::int64_t i = 0; i < classes; ++i) {
        const double log_probability = z[i] - log_partition;
        mean[i] += share * (combine == Combine::arithmetic ? std::exp(log_probability) : log_probability);
      }
    }
    float* out = result.data<float>() + row * classes;
    for (std::int64_t i = 0; i < classes; ++i)
      // The smallest normal double keeps log finite where every member's probability underflows.
      out[i] = static_cast<float>(combine == Combine::arithmetic ? std::log(std::max(mean[i], 2.3e-308)) : mean[i]);
  }
  return result;
}

}  // namespace retort
