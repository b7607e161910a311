// The nodes of a network that computes in 8-bit integers: what `quantize` makes of a graph's.
//
// A node that gives u8 has the attributes `scale` and `zero`, which all who read it go by. conv_int8 and linear_int8
// without them give f32. A linear_int8 may read a map: it is flattened.
//
//   quantize, dequantize     between f32 and u8
//   conv_int8                relu(conv(input 0) + input 1, if there is one); .weight i8, .weight_scale and .bias f32
//   linear_int8              the same of a matrix, without input 1
//   add_int8                 relu(input 0 + input 1)
//   concat_int8              channels side by side
//   max_pool_int8            of its input's scale
//   mean_int8                global average pooling, to f32
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/int8.h"
#include "models/graph/network.h"
#include "models/registry.h"

namespace retort {

/// How a value is stored: as u8 with this scale and zero point, or as float.
using ValueForm = std::optional<Quantization>;

/// The ops, for messages.
std::vector<std::string> int8_ops();
bool is_int8_op(const std::string& op);
/// Whether a network computes in 8-bit integers somewhere.
bool is_int8(const GraphSpec& spec);
/// Throws Error naming the model's file where that is so: such layers have no gradient.
void check_trains(const ModelSpec& spec, const std::string& path);

/// A node's attributes `scale` and `zero`. Throws Error naming it where they are missing or none.
Quantization quantization_of(const GraphNode& node);
/// The form of every value; 0 is the image. Throws Error naming the node: a number of inputs that its op does not take,
/// an input of the other form, a scale or zero point that is missing or none.
std::vector<ValueForm> value_forms(const GraphSpec& spec);

/// A node of int8_ops(). `inputs` are the forms of what it reads, `output` its own.
std::unique_ptr<GraphLayer> make_int8_layer(const GraphNode& node, std::vector<ValueForm> inputs, ValueForm output);

}  // namespace retort
