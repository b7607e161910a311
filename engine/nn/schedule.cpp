#include "engine/nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace retort {

double learning_rate(const ScheduleSettings& settings, double epoch) {
  if (epoch < settings.warmup_epochs) return settings.lr * epoch / settings.warmup_epochs;
  switch (settings.kind) {
    case ScheduleKind::cosine: {
      const double length = settings.epochs - settings.warmup_epochs;
      const double progress = length > 0 ? std::min(1.0, (epoch - settings.warmup_epochs) / length) : 1;
      return settings.lr / 2 * (1 + std::cos(std::numbers::pi * progress));
    }
    case ScheduleKind::step: {
      if (!settings.milestones.empty()) {
        const auto passed = std::ranges::count_if(settings.milestones, [&](double at) { return epoch >= at; });
        return settings.lr * std::pow(0.1, static_cast<double>(passed));
      }
      return settings.lr * std::pow(0.1, std::clamp(std::floor(3 * epoch / settings.epochs), 0.0, 2.0));
    }
    case ScheduleKind::constant:
    case ScheduleKind::plateau: break;
  }
  return settings.lr;
}

void Plateau::observe(double loss) {
  if (loss < best) {
    best = loss;
    bad_epochs = 0;
  } else if (++bad_epochs >= patience_) {
    factor_ /= 10;
    bad_epochs = 0;
  }
}

void Plateau::restore(double best_loss, int bad, double factor) {
  best = best_loss;
  bad_epochs = bad;
  factor_ = factor;
}

}  // namespace retort
