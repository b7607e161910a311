// A model in 8 bits: calibrated on images, and which of its layers stay in float.
#pragma once

#include <functional>
#include <memory>

#include "engine/data/loader.h"
#include "models/graph/quantize.h"
#include "models/registry.h"

namespace retort {

struct CalibrationOptions {
  std::int64_t batch_size = 32;
  bool quiet = false;
};

/// Images that a network is calibrated on, unless a flag says otherwise.
inline constexpr std::int64_t kCalibrationImages = 256;

/// Batch by batch in order, centred views, under a progress bar of that name. Throws Interrupted on Ctrl-C.
void for_each_batch(const Dataset& dataset, const Preprocessing& input, const CalibrationOptions& options,
                    const char* label, const std::function<void(const Batch&)>& use);

/// A network in float, and what its nodes become in 8 bits.
struct CalibratedNetwork {
  PlainGraph graph;  ///< batch norm is folded
  QuantizedGraph small;
};

/// The first and the last layer stay in float where that alone takes away half of the logits' error or more, and it is
/// said. Throws Error, beginning with `path`, where no layer can be computed in 8 bits. The network moves to the CPU.
CalibratedNetwork calibrate(Model& model, const std::string& path, const Dataset& images,
                            const CalibrationOptions& options);

/// The description of an 8-bit network made of a model that `spec` describes: its graph, and what it was made of.
ModelSpec int8_spec(ModelSpec spec, const GraphSpec& small, const std::string& how, const std::string& hash);

}  // namespace retort
