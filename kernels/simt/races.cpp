// Vector clocks of the warps, and per cell of shared memory the accesses that they order (kernels/simt/races.h).
#include "kernels/simt/races.h"

#include <algorithm>

namespace retort::simt {
namespace {

/// Bytes that share one record. Kernels hold nothing smaller in shared memory than a bf16.
constexpr std::size_t kCellBytes = 2;

AccessRecord record(std::uint32_t epoch, unsigned warp, unsigned lane, CodePlace place, bool atomic) {
  return {.epoch = epoch,
          .lanes = 1u << lane,
          .first_place = place,
          .other_place = place,
          .first_lane = static_cast<std::uint8_t>(lane),
          .other_lane = static_cast<std::uint8_t>(lane),
          .warp = static_cast<std::uint8_t>(warp),
          .atomic = atomic};
}

}  // namespace

void RaceDetector::start_block(unsigned warps, std::size_t shared_bytes) {
  base_ = std::max(base_, *std::max_element(epoch_.begin(), epoch_.end()));
  warps_ = warps;
  for (Clock& seen : seen_) seen.fill(base_);
  epoch_.fill(base_ + 1);
  cells_.resize(std::max(cells_.size(), (shared_bytes + kCellBytes - 1) / kCellBytes));
  // A block that was stopped may have left copies in flight.
  if (pending_ > 0)
    for (Cell& cell : cells_) cell.pending = 0;
  pending_ = 0;
}

bool RaceDetector::ordered(const AccessRecord& record, unsigned warp, unsigned lane) const {
  if (record.warp != warp) return record.epoch <= seen_[warp][record.warp];
  return record.epoch < epoch_[warp] || record.lanes == (1u << lane);
}

void RaceDetector::enter_read(Cell& cell, unsigned warp, unsigned lane, CodePlace place) {
  for (AccessRecord& read : cell.reads)
    if (read.warp == warp && read.epoch == epoch_[warp]) {
      read.lanes |= 1u << lane;
      if (lane != read.first_lane) read.other_lane = static_cast<std::uint8_t>(lane), read.other_place = place;
      return;
    }
  // An ordered record is covered by this read; of two that are not, the older goes.
  AccessRecord* into = &cell.reads[0];
  if (!ordered(cell.reads[0], warp, lane) &&
      (ordered(cell.reads[1], warp, lane) || cell.reads[1].epoch < cell.reads[0].epoch))
    into = &cell.reads[1];
  *into = record(epoch_[warp], warp, lane, place, false);
}

RaceDetector::Conflict RaceDetector::access(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes,
                                            AccessKind kind, CodePlace place) {
  const auto conflict = [&](const AccessRecord& with, bool write) {
    const bool other = with.warp == warp && with.first_lane == lane;
    return Conflict{true,
                    false,
                    write,
                    with.warp,
                    other ? with.other_lane : with.first_lane,
                    other ? with.other_place : with.first_place};
  };
  Conflict result;
  for (std::size_t i = offset / kCellBytes; i < (offset + bytes + kCellBytes - 1) / kCellBytes; ++i) {
    Cell& cell = cells_[i];
    if (cell.pending) return {true, true, true, cell.write.warp, cell.write.first_lane, cell.write.first_place};
    const bool atomic = kind == AccessKind::atomic;
    if (!ordered(cell.write, warp, lane) && !(atomic && cell.write.atomic)) return conflict(cell.write, true);
    if (kind == AccessKind::read) {
      enter_read(cell, warp, lane, place);
      continue;
    }
    for (AccessRecord& read : cell.reads) {
      if (!ordered(read, warp, lane)) return conflict(read, false);
      read = {};
    }
    cell.write = record(epoch_[warp], warp, lane, place, atomic);
  }
  return result;
}

RaceDetector::Conflict RaceDetector::issue(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes,
                                           CodePlace place) {
  const Conflict result = access(warp, lane, offset, bytes, AccessKind::write, place);
  for (std::size_t i = offset / kCellBytes; i < (offset + bytes + kCellBytes - 1) / kCellBytes; ++i) {
    ++cells_[i].pending;
    ++pending_;
  }
  return result;
}

RaceDetector::Conflict RaceDetector::land(unsigned warp, unsigned lane, std::size_t offset, std::size_t bytes,
                                          CodePlace place) {
  for (std::size_t i = offset / kCellBytes; i < (offset + bytes + kCellBytes - 1) / kCellBytes; ++i) {
    --cells_[i].pending;
    --pending_;
  }
  return access(warp, lane, offset, bytes, AccessKind::write, place);
}

void RaceDetector::land_bulk(std::size_t offset, std::size_t bytes, CodePlace place, Clock& into) {
  for (std::size_t i = offset / kCellBytes; i < (offset + bytes + kCellBytes - 1) / kCellBytes; ++i) {
    --cells_[i].pending;
    --pending_;
    cells_[i].write = record(epoch_[kCopyEngine], kCopyEngine, 0, place, false);
  }
  into[kCopyEngine] = epoch_[kCopyEngine]++;
}

void RaceDetector::barrier() {
  Clock all = epoch_;
  // Threads that meet know of the bulk copies that one of them waited for, and of no others.
  all[kCopyEngine] = 0;
  for (unsigned warp = 0; warp < warps_; ++warp)
    all[kCopyEngine] = std::max(all[kCopyEngine], seen_[warp][kCopyEngine]);
  for (unsigned warp = 0; warp < warps_; ++warp) {
    seen_[warp] = all;
    ++epoch_[warp];
  }
}

void RaceDetector::release(unsigned warp, Clock& into) {
  for (std::size_t other = 0; other < into.size(); ++other) into[other] = std::max(into[other], seen_[warp][other]);
  into[warp] = std::max(into[warp], epoch_[warp]);
  ++epoch_[warp];
}

void RaceDetector::acquire(unsigned warp, const Clock& from) {
  for (std::size_t other = 0; other < from.size(); ++other)
    seen_[warp][other] = std::max(seen_[warp][other], from[other]);
}

}  // namespace retort::simt
