// Teachers: where the soft targets of a batch come from. A cached teacher looks them up; a live one runs networks in
// evaluation mode. For one view of a sample both give the same bits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/data/loader.h"
#include "engine/distill/logit_store.h"
#include "engine/nn/module.h"
#include "engine/ops/prepared_filters.h"

namespace retort {

class Teacher {
 public:
  virtual ~Teacher() = default;
  /// Appends the preprocessings whose inputs logits() will want in each batch, reusing equal ones already there.
  virtual void request_inputs(std::vector<Preprocessing>& preprocessings) = 0;
  /// Logits f32 [n, classes] of a batch that was loaded for `view`, or for the views that it names itself, on the CPU
  /// or on the teacher's device.
  virtual Tensor logits(const Batch& batch, std::uint64_t view) = 0;
  /// The outputs of the layers that were asked for, of the batch that logits() saw last, on the teacher's device.
  virtual std::vector<Tensor> outputs() const { return {}; }
};

/// Looks up rows of a store.
class CachedTeacher : public Teacher {
 public:
  /// `rows`: each sample's row in view 0, from match_logit_store. With `any_view` the one view of the store stands for
  /// the sample in every view, crops that the teacher has not seen included. Throws Error for that with several views.
  CachedTeacher(LogitStore store, std::vector<std::int64_t> rows, bool any_view = false);
  void request_inputs(std::vector<Preprocessing>& preprocessings) override;
  Tensor logits(const Batch& batch, std::uint64_t view) override;

 private:
  LogitStore store_;
  std::vector<std::int64_t> rows_;
  bool any_view_;
};

/// How several models' outputs become one. Each result serves as logits: it is defined up to a constant per row, which
/// SoftLoss::mse alone would notice.
enum class Combine : std::uint8_t {
  logit,       ///< mean of the logits
  arithmetic,  ///< log of the mean of the probabilities at T = 1
  geometric    ///< mean of the log probabilities at T = 1: the logit mean with each row's log partition removed
};

struct CombineRow {
  Combine value;
  const char* word;
};
inline constexpr CombineRow kCombines[] = {
    {Combine::logit, "logit"}, {Combine::arithmetic, "arithmetic"}, {Combine::geometric, "geometric"}};

/// Runs one or more networks, each at its own size and normalisation of the same view.
class LiveTeacher : public Teacher {
 public:
  struct Member {
    std::unique_ptr<Network> network;
    Preprocessing preprocessing;
  };
  /// `weights` as in combine_logits.
  LiveTeacher(std::vector<Member> members, Combine combine, std::vector<double> weights = {});
  void request_inputs(std::vector<Preprocessing>& preprocessings) override;
  Tensor logits(const Batch& batch, std::uint64_t view) override;
  /// Asks for the outputs of layers of the only member, which must have them. Throws UsageError if there are several.
  void ask_for_outputs(std::vector<std::string> layers);
  std::vector<Tensor> outputs() const override;

 private:
  std::vector<Member> members_;
  std::vector<std::string> layers_;  ///< whose outputs are asked for
  Taps taps_;
  std::vector<std::size_t> inputs_;  ///< index of each member's input in a batch
  Combine combine_;
  std::vector<double> weights_;
  std::vector<PreparedFilters> filters_;  ///< of each member, whose weights stay as they are
};

/// Combines logits of several models, all [n, classes]; of one alone they stay where they are, else the CPU does it.
/// The result is in proportion to `weights`: one each, above 0; empty: equal.
Tensor combine_logits(const std::vector<Tensor>& logits, Combine combine, const std::vector<double>& weights = {});

}  // namespace retort
