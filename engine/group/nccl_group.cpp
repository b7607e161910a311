#ifdef RETORT_HAVE_NCCL
#include "engine/group/nccl_group.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "engine/core/check.h"
#include "engine/group/launch.h"
#include "engine/group/machine.h"
#include "kernels/memory.h"
#include "kernels/vendor/nccl.h"

namespace retort {
namespace {

class NcclGroup final : public Group {
 public:
  NcclGroup(Device device, std::unique_ptr<Group>& hosts)
      : device_(device),
        devices_(device, id_from(hosts.get()), launch().local_rank, launch().rank, launch().processes),
        hosts_(std::move(hosts)) {
    if (!hosts_) share_ = share_of_machine(*this);
  }

  int rank() const override { return launch().rank; }
  int size() const override { return launch().processes; }
  int local_size() const override { return hosts_ ? hosts_->local_size() : share_.processes; }
  int threads() const override { return hosts_ ? hosts_->threads() : share_.threads; }

  void all_reduce(const Tensor& sum) override {
    check(sum.dtype() == DType::f32 && sum.device() == device_, "[all_reduce] takes f32 on ", to_string(device_));
    devices_.all_reduce(static_cast<float*>(sum.raw()), static_cast<std::size_t>(sum.count()));
  }

  void broadcast(std::span<std::byte> bytes) override {
    if (hosts_) return hosts_->broadcast(bytes);
    if (bytes.empty()) return;
    const Tensor there = on_device(bytes);
    devices_.broadcast(there.raw(), there.bytes());
    std::memcpy(bytes.data(), there.to(Device::cpu).raw(), bytes.size());
  }

  std::vector<std::string> gather(const std::string& mine) override {
    if (hosts_) return hosts_->gather(mine);
    std::int64_t length = static_cast<std::int64_t>(mine.size());
    const std::string lengths = gather_equal(std::as_bytes(std::span(&length, 1)));
    std::vector<std::int64_t> all(static_cast<std::size_t>(size()));
    std::memcpy(all.data(), lengths.data(), lengths.size());
    std::string padded = mine;
    padded.resize(static_cast<std::size_t>(std::ranges::max(all)));
    const std::string joined = gather_equal(std::as_bytes(std::span(padded)));
    std::vector<std::string> by_rank;
    for (std::size_t r = 0; r < all.size(); ++r)
      by_rank.push_back(joined.substr(r * padded.size(), static_cast<std::size_t>(all[r])));
    return by_rank;
  }

  void barrier() override { hosts_ ? hosts_->barrier() : void(gather("")); }

  /// Without MPI the launcher ends the others, when it sees this one fail.
  void abort(int status) override {
    if (hosts_) hosts_->abort(status);
    std::_Exit(status);
  }

 private:
  static std::string id_from(Group* hosts) {
    if (hosts) return hosts->broadcast_text(hosts->is_first() ? vendor::nccl_id() : "");
    setenv("NCCL_COMM_ID", meeting_point().c_str(), 1);
    return vendor::nccl_id();
  }

  Tensor on_device(std::span<const std::byte> bytes) const {
    const Tensor here = Tensor::empty({static_cast<std::int64_t>(bytes.size())}, DType::u8);
    std::memcpy(here.raw(), bytes.data(), bytes.size());
    return here.to(device_);
  }

  /// As many bytes of each rank, one after the other.
  std::string gather_equal(std::span<const std::byte> mine) {
    if (mine.empty()) return {};
    const Tensor own = on_device(mine);
    const Tensor all = Tensor::empty({static_cast<std::int64_t>(mine.size()) * size()}, DType::u8, device_);
    devices_.all_gather(own.raw(), all.raw(), mine.size());
    const Tensor here = all.to(Device::cpu);
    return {static_cast<const char*>(here.raw()), here.bytes()};
  }

  Device device_;
  vendor::Communicator devices_;
  std::unique_ptr<Group> hosts_;
  MachineShare share_;
};

}  // namespace

std::unique_ptr<Group> make_nccl_group(Device device, std::unique_ptr<Group>& hosts) {
  if (const std::string why = vendor::nccl_unavailable(); !why.empty())
    throw UsageError(text("--device: several processes on ", to_string(device), " need NCCL: ", why));
  return std::make_unique<NcclGroup>(device, hosts);
}

}  // namespace retort
#endif
