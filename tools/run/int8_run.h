// --precision int8: a trained network learns on while it rounds as 8 bits will, and its 8-bit form is what is saved.
#pragma once

#include "tools/run/calibrate.h"
#include "tools/run/training.h"

namespace retort {

class Int8Run {
 public:
  /// `network` is in float, as `spec` describes it, with the weights that the run starts from. It is calibrated on
  /// training pictures, the same each time. Throws what calibrate throws.
  Int8Run(const TrainingRun& run, const ModelSpec& spec, std::unique_ptr<Network> network);

  /// What trains: batch norm is part of the layers before it, and dropout is left out.
  std::unique_ptr<Network> rehearsal() const;
  /// Writes the 8-bit network of the weights that the rehearsal has.
  void save(const std::string& path, Network& rehearsal) const;

 private:
  CalibratedNetwork calibrated_;
  ModelSpec spec_;  ///< of the 8-bit network
};

}  // namespace retort
