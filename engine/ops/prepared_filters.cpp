#include "engine/ops/prepared_filters.h"

#include "engine/core/kernels.h"

namespace retort {

PreparedFilter PreparedFilters::get(const Conv2dGeometry& geometry, const Tensor& weight, DType dtype) {
  auto& [filter, prepared_for] = entries_[weight.raw()];
  if (!filter.weight || filter.weight.dtype() != dtype)
    filter = {.weight = weight.dtype() == dtype ? weight.detached() : weight.to(dtype), .laid_out = {}};
  const auto& prepared = kernels(filter.weight).conv2d.prepared;
  const std::size_t bytes = prepared ? prepared->bytes(geometry) : 0;
  if (bytes == 0) {
    filter.laid_out = {};
  } else if (!filter.laid_out || prepared_for != geometry) {
    filter.laid_out = Tensor::empty({static_cast<std::int64_t>(bytes)}, DType::u8, weight.device());
    prepared->prepare({}, geometry, filter.weight.raw(), filter.laid_out.raw());
  }
  prepared_for = geometry;
  return filter;
}

}  // namespace retort
