// A stand-in for NCCL between processes of one machine, over shared memory, for a device whose memory is the host's:
// the simulator's. It adds in rank order, refuses ranks that do not make the same calls in the same order, waits a
// minute for those that do not come, lets one call fail where NCCL_STANDIN_FAILS=NAME:NTH asks for it, and with
// NCCL_STANDIN_FLIPS=NTH gives the last rank another sum than the others in that one.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>

namespace {

constexpr std::size_t kChunk = 1 << 16;
constexpr int kMostRanks = 16;

struct Call {
  char name[16];
  std::uint64_t count;
};

/// Zero when it is new.
struct Shared {
  std::atomic<int> joined, arrived, round;
  Call calls[kMostRanks];
  char slots[kMostRanks][kChunk];
};

std::string& last_error() {
  static std::string text;
  return text;
}

ncclResult_t fail(ncclResult_t status, const std::string& why) {
  last_error() = why;
  return status;
}

bool asked_to_fail(const std::string& name) {
  static int calls = 0;
  const char* const asked = std::getenv("NCCL_STANDIN_FAILS");
  if (!asked) return false;
  const std::string wish = asked;
  const std::size_t colon = wish.find(':');
  return wish.substr(0, colon) == name && ++calls == std::stoi(wish.substr(colon + 1));
}

bool asked_to_flip() {
  static int sums = 0;
  const char* const asked = std::getenv("NCCL_STANDIN_FLIPS");
  return asked && ++sums == std::stoi(asked);
}

}  // namespace

struct ncclComm {
  Shared* shared;
  int rank, ranks;

  bool wait() {
    const int round = shared->round;
    if (shared->arrived.fetch_add(1) + 1 == ranks) {
      shared->arrived = 0;
      ++shared->round;
      return true;
    }
    const auto start = std::chrono::steady_clock::now();
    while (shared->round == round) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      if (std::chrono::steady_clock::now() - start > std::chrono::minutes(1)) return false;
    }
    return true;
  }

  /// Each chunk goes round: put writes this rank's into its slot, take reads all.
  ncclResult_t run(const char* name, std::uint64_t count, std::size_t bytes,
                   const std::function<void(std::size_t at, std::size_t size, char* own)>& put,
                   const std::function<void(std::size_t at, std::size_t size)>& take) {
    if (asked_to_fail(name)) return fail(ncclRemoteError, "as it was asked to");
    Call& mine = shared->calls[rank];
    std::snprintf(mine.name, sizeof mine.name, "%s", name);
    mine.count = count;
    if (!wait()) return fail(ncclRemoteError, "a rank does not come");
    for (int other = 0; other < ranks; ++other)
      if (std::strcmp(shared->calls[other].name, name) != 0 || shared->calls[other].count != count)
        return fail(ncclInvalidUsage, "rank " + std::to_string(other) + " calls " + shared->calls[other].name + " of " +
                                          std::to_string(shared->calls[other].count) + ", rank " +
                                          std::to_string(rank) + " " + name + " of " + std::to_string(count));
    for (std::size_t at = 0; at < bytes; at += kChunk) {
      const std::size_t size = std::min(kChunk, bytes - at);
      put(at, size, shared->slots[rank]);
      if (!wait()) return fail(ncclRemoteError, "a rank does not come");
      take(at, size);
      if (!wait()) return fail(ncclRemoteError, "a rank does not come");
    }
    return wait() ? ncclSuccess : fail(ncclRemoteError, "a rank does not come");
  }
};

extern "C" {

__attribute__((visibility("default"))) ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (asked_to_fail("ncclGetUniqueId")) return fail(ncclSystemError, "as it was asked to");
  std::memset(id, 0, sizeof *id);
  const char* const meeting = std::getenv("NCCL_COMM_ID");
  std::string name =
      meeting ? meeting : "drawn-" + std::to_string(std::random_device{}()) + "-" + std::to_string(getpid());
  std::replace(name.begin(), name.end(), '/', '.');
  std::snprintf(id->internal, sizeof id->internal, "/retort-nccl-%s", name.c_str());
  return ncclSuccess;
}

__attribute__((visibility("default"))) ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id,
                                                                     int rank) {
  if (asked_to_fail("ncclCommInitRank")) return fail(ncclSystemError, "as it was asked to");
  if (ranks > kMostRanks || rank < 0 || rank >= ranks) return fail(ncclInvalidArgument, "rank or ranks");
  const int file = shm_open(id.internal, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return fail(ncclSystemError, "shm_open");
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return fail(ncclSystemError, "mmap");
  *comm = new ncclComm{static_cast<Shared*>(memory), rank, ranks};
  if ((*comm)->shared->joined.fetch_add(1) >= ranks) return fail(ncclInvalidUsage, "more ranks than were announced");
  if (!(*comm)->wait()) return fail(ncclRemoteError, "a rank does not come");
  if (rank == 0) shm_unlink(id.internal);
  return ncclSuccess;
}

__attribute__((visibility("default"))) ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  munmap(comm->shared, sizeof(Shared));
  delete comm;
  return ncclSuccess;
}

__attribute__((visibility("default"))) ncclResult_t ncclAllReduce(const void* from, void* to, size_t count,
                                                                  ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                                                                  cudaStream_t) {
  if (type != ncclFloat || op != ncclSum) return fail(ncclInvalidArgument, "only sums of float");
  const bool flips = asked_to_flip() && comm->rank + 1 == comm->ranks;
  return comm->run(
      "ncclAllReduce", count, count * sizeof(float),
      [&](std::size_t at, std::size_t size, char* own) { std::memcpy(own, static_cast<const char*>(from) + at, size); },
      [&](std::size_t at, std::size_t size) {
        float* const sum = reinterpret_cast<float*>(static_cast<char*>(to) + at);
        for (std::size_t i = 0; i < size / sizeof(float); ++i) {
          sum[i] = reinterpret_cast<const float*>(comm->shared->slots[0])[i];
          for (int rank = 1; rank < comm->ranks; ++rank)
            sum[i] += reinterpret_cast<const float*>(comm->shared->slots[rank])[i];
        }
        if (flips && at == 0) sum[0] += 1;
      });
}

__attribute__((visibility("default"))) ncclResult_t ncclBroadcast(const void* from, void* to, size_t count,
                                                                  ncclDataType_t type, int root, ncclComm_t comm,
                                                                  cudaStream_t) {
  if (type != ncclChar) return fail(ncclInvalidArgument, "only bytes");
  return comm->run(
      "ncclBroadcast", count, count,
      [&](std::size_t at, std::size_t size, char* own) { std::memcpy(own, static_cast<const char*>(from) + at, size); },
      [&](std::size_t at, std::size_t size) {
        std::memcpy(static_cast<char*>(to) + at, comm->shared->slots[root], size);
      });
}

__attribute__((visibility("default"))) ncclResult_t ncclAllGather(const void* from, void* to, size_t count,
                                                                  ncclDataType_t type, ncclComm_t comm, cudaStream_t) {
  if (type != ncclChar) return fail(ncclInvalidArgument, "only bytes");
  return comm->run(
      "ncclAllGather", count, count,
      [&](std::size_t at, std::size_t size, char* own) { std::memcpy(own, static_cast<const char*>(from) + at, size); },
      [&](std::size_t at, std::size_t size) {
        for (int rank = 0; rank < comm->ranks; ++rank)
          std::memcpy(static_cast<char*>(to) + static_cast<std::size_t>(rank) * count + at, comm->shared->slots[rank],
                      size);
      });
}

__attribute__((visibility("default"))) const char* ncclGetErrorString(ncclResult_t status) {
  switch (status) {
    case ncclSystemError: return "unhandled system error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    default: return "unknown result code";
  }
}

__attribute__((visibility("default"))) const char* ncclGetLastError(ncclComm_t) { return last_error().c_str(); }

}  // extern "C"
