// An 8-bit network while it trains: the same nodes in float, which round as 8 bits will, and back again.
//
//   const QuantizedGraph small = quantize_graph(graph, forms, keep);
//   const std::unique_ptr<Network> network = network_of(rehearsal_of(small.graph, graph));   // trains
//   const PlainGraph trained = with_weights_of(small.graph, *network);                       // computes in 8 bits
#pragma once

#include "models/graph/quantize.h"

namespace retort {

/// The nodes of an 8-bit graph in float: a value that is stored in 8 bits goes through fake_quantize, the weights of
/// 8-bit layers are rounded. The tensors are those of the float graph that `small` was made of.
PlainGraph rehearsal_of(const PlainGraph& small, const PlainGraph& graph);

/// An 8-bit graph with the weights of its rehearsal.
PlainGraph with_weights_of(const PlainGraph& small, Network& rehearsal);

}  // namespace retort
