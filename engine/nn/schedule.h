// Learning-rate schedules, as functions of the position in training.
#pragma once

#include <cstdint>
#include <vector>

namespace retort {

enum class ScheduleKind : std::uint8_t { constant, cosine, step, plateau };

struct ScheduleSettings {
  ScheduleKind kind = ScheduleKind::cosine;
  double lr = 0.1;                      ///< the peak
  double epochs = 1;                    ///< length of the run
  double warmup_epochs = 0;             ///< linear from 0 (exclusive) to lr
  std::vector<double> milestones = {};  ///< of step: epochs after each of which the rate is a tenth; empty: the thirds
};

/// The learning rate at a fractional epoch in [0, epochs). A step counts by its middle, (step + 0.5) / steps per epoch,
/// which makes the rate of none exactly 0.
///   constant  lr
///   cosine    lr / 2 * (1 + cos(pi * progress after warm-up))        (Loshchilov & Hutter 1608.03983)
///   step      lr * 0.1^(number of milestones, or thirds of the run, that have passed)
///   plateau   lr; the caller multiplies by Plateau::factor()
double learning_rate(const ScheduleSettings& settings, double epoch);

/// Divides the rate by ten when the watched loss has not improved for `patience` epochs.
class Plateau {
 public:
  explicit Plateau(int patience = 5) : patience_(patience) {}
  void observe(double loss);
  double factor() const { return factor_; }

  double best = 1e300;  ///< with bad_epochs and factor, saved in the training state
  int bad_epochs = 0;
  void restore(double best_loss, int bad, double factor);

 private:
  int patience_;
  double factor_ = 1;
};

}  // namespace retort
