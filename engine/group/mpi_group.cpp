// Parts are exchanged, added by us in rank order, and handed round: MPI_Allreduce promises no order.
#ifdef RETORT_HAVE_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "engine/group/mpi_group.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "engine/core/check.h"
#include "engine/group/machine.h"

namespace retort {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<int>::max() / 2;  ///< MPI counts in int

class MpiGroup final : public Group {
 public:
  MpiGroup() {
    // What a failing call says is MPI's; that it ends all processes is its default, too.
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    share_ = share_of_machine(*this);
  }
  ~MpiGroup() override { MPI_Finalize(); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_size() const override { return share_.processes; }
  int threads() const override { return share_.threads; }

  void all_reduce(const Tensor& whole) override {
    const std::span<float> sum = whole.span<float>();
    for (std::size_t first = 0; first < sum.size(); first += kMost)
      reduce_piece(sum.subspan(first, std::min<std::size_t>(kMost, sum.size() - first)));
  }

  void broadcast(std::span<std::byte> bytes) override {
    for (std::size_t first = 0; first < bytes.size(); first += kMost)
      MPI_Bcast(bytes.data() + first, static_cast<int>(std::min<std::size_t>(kMost, bytes.size() - first)), MPI_BYTE, 0,
                MPI_COMM_WORLD);
  }

  std::vector<std::string> gather(const std::string& mine) override {
    const auto bytes = static_cast<std::int64_t>(mine.size());
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(size_));
    MPI_Allgather(&bytes, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, MPI_COMM_WORLD);
    std::vector<int> counts, starts;
    std::int64_t total = 0;
    for (const std::int64_t size : sizes) {
      check(total + size <= kMost, "gather: more than ", kMost, " bytes at once; take a smaller --batch-size");
      counts.push_back(static_cast<int>(size));
      starts.push_back(static_cast<int>(total));
      total += size;
    }
    std::string all(static_cast<std::size_t>(total), '\0');
    MPI_Allgatherv(mine.data(), counts[static_cast<std::size_t>(rank_)], MPI_BYTE, all.data(), counts.data(),
                   starts.data(), MPI_BYTE, MPI_COMM_WORLD);
    std::vector<std::string> by_rank;
    for (std::size_t r = 0; r < counts.size(); ++r)
      by_rank.push_back(all.substr(static_cast<std::size_t>(starts[r]), static_cast<std::size_t>(counts[r])));
    return by_rank;
  }

  void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

  void abort(int status) override {
    MPI_Abort(MPI_COMM_WORLD, status);
    std::_Exit(status);
  }

 private:
  /// Rank r adds the r-th of as many ranges as there are ranks.
  void reduce_piece(std::span<float> sum) {
    const auto n = static_cast<std::int64_t>(sum.size());
    std::vector<int> counts, starts;
    for (std::int64_t r = 0; r < size_; ++r) {
      starts.push_back(static_cast<int>(n * r / size_));
      counts.push_back(static_cast<int>(n * (r + 1) / size_ - n * r / size_));
    }
    const int own = counts[static_cast<std::size_t>(rank_)];
    std::vector<int> own_counts(static_cast<std::size_t>(size_), own), own_starts;
    for (int r = 0; r < size_; ++r) own_starts.push_back(r * own);
    std::vector<float> theirs(static_cast<std::size_t>(own) * static_cast<std::size_t>(size_));
    MPI_Alltoallv(sum.data(), counts.data(), starts.data(), MPI_FLOAT, theirs.data(), own_counts.data(),
                  own_starts.data(), MPI_FLOAT, MPI_COMM_WORLD);
    for (int r = 1; r < size_; ++r)
      for (int i = 0; i < own; ++i)
        theirs[static_cast<std::size_t>(i)] +=
            theirs[static_cast<std::size_t>(r) * static_cast<std::size_t>(own) + static_cast<std::size_t>(i)];
    MPI_Allgatherv(theirs.data(), own, MPI_FLOAT, sum.data(), counts.data(), starts.data(), MPI_FLOAT, MPI_COMM_WORLD);
  }

  int rank_ = 0, size_ = 1;
  MachineShare share_;
};

}  // namespace

std::unique_ptr<Group> make_mpi_group() { return std::make_unique<MpiGroup>(); }

}  // namespace retort
#endif
