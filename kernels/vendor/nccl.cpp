#include "kernels/vendor/nccl.h"

#include <nccl.h>

#include <cstring>
#include <stdexcept>

#include "kernels/vendor/library.h"
#ifdef RETORT_CUDA
#include "kernels/cuda/runtime.h"
#endif
#ifdef RETORT_SIMT
#include "kernels/simt/simulator.h"
#endif

namespace retort::vendor {
namespace {

struct Nccl {
  Library library{"libnccl.so.2", "libnccl.so"};
#define RETORT_FIND(name) decltype(&::name) name = reinterpret_cast<decltype(name)>(library.find(#name))
  RETORT_FIND(ncclGetUniqueId);
  RETORT_FIND(ncclCommInitRank);
  RETORT_FIND(ncclCommDestroy);
  RETORT_FIND(ncclAllReduce);
  RETORT_FIND(ncclBroadcast);
  RETORT_FIND(ncclAllGather);
  RETORT_FIND(ncclGetErrorString);
  RETORT_FIND(ncclGetLastError);
#undef RETORT_FIND
};

/// Never destroyed: CUDA may be gone when statics are.
Nccl& nccl() {
  static Nccl& instance = *new Nccl;
  return instance;
}

void check(ncclResult_t status, const char* call) {
  if (status == ncclSuccess) return;
  std::string why = nccl().ncclGetErrorString(status);
  if (const char* const last = nccl().ncclGetLastError(nullptr); last && *last) why += std::string(" (") + last + ")";
  throw std::runtime_error(std::string("nccl: ") + call + ": " + why +
                           "; look at the other processes, the network and NCCL_DEBUG=INFO");
}
#define RETORT_CHECK(call, ...) check(nccl().call(__VA_ARGS__), #call)

/// Makes a call that takes a stream. The simulator has none: its call is made at once, or kept for the graph.
template <class Call>
void ask(Device device, const Call& call) {
#ifdef RETORT_SIMT
  if (device == Device::simt) {
    if (simt::capturing())
      simt::keep([call] { call(nullptr); });
    else
      call(nullptr);
    return;
  }
#endif
#ifdef RETORT_CUDA
  if (device == Device::cuda) return call(cuda::native({}));
#endif
  throw std::invalid_argument("nccl: serves GPUs alone");
}

void take_device([[maybe_unused]] Device device, [[maybe_unused]] int local_rank) {
#ifdef RETORT_CUDA
  if (device != Device::cuda) return;
  int count = 0;
  cuda::check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  cuda::check(cudaSetDevice(local_rank % count), "cudaSetDevice");
#endif
}

}  // namespace

const char* nccl_unavailable() { return nccl().library.why_not().c_str(); }

std::string nccl_id() {
  ncclUniqueId id;
  RETORT_CHECK(ncclGetUniqueId, &id);
  return {id.internal, sizeof id.internal};
}

Communicator::Communicator(Device device, const std::string& id, int local_rank, int rank, int size) : device_(device) {
  take_device(device, local_rank);
  ncclUniqueId unique;
  if (id.size() != sizeof unique.internal) throw std::invalid_argument("nccl: the id is of another size");
  std::memcpy(unique.internal, id.data(), id.size());
  ncclComm_t created = nullptr;
  RETORT_CHECK(ncclCommInitRank, &created, size, unique, rank);
  communicator_ = created;
}

Communicator::~Communicator() { nccl().ncclCommDestroy(static_cast<ncclComm_t>(communicator_)); }

void Communicator::all_reduce(float* sum, std::size_t count) {
  ask(device_, [=, comm = static_cast<ncclComm_t>(communicator_)](cudaStream_t stream) {
    RETORT_CHECK(ncclAllReduce, sum, sum, count, ncclFloat, ncclSum, comm, stream);
  });
}

void Communicator::broadcast(void* memory, std::size_t bytes) {
  ask(device_, [=, comm = static_cast<ncclComm_t>(communicator_)](cudaStream_t stream) {
    RETORT_CHECK(ncclBroadcast, memory, memory, bytes, ncclChar, 0, comm, stream);
  });
}

void Communicator::all_gather(const void* mine, void* all, std::size_t bytes) {
  ask(device_, [=, comm = static_cast<ncclComm_t>(communicator_)](cudaStream_t stream) {
    RETORT_CHECK(ncclAllGather, mine, all, bytes, ncclChar, comm, stream);
  });
}

}  // namespace retort::vendor
