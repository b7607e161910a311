// Parts are exchanged, added by us in rank order, and handed round: MPI_Allreduce promises no order.
#ifdef RETORT_HAVE_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "engine/group/mpi_group.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <limits>

#include "engine/core/check.h"
#include "engine/group/machine.h"

namespace retort {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<int>::max() / 2;  ///< MPI counts in int

/// A sum on its way: rank r receives the r-th of as many ranges as there are ranks, adds it up, and hands it round.
class Exchange {
 public:
  /// Ranges to be added go through `to_adders`, added ones through `back`. MPI matches what goes through a communicator
  /// by its order: exchanges begin in the same order everywhere, and so must hand_round be called.
  Exchange(const Tensor& whole, std::span<float> sum, int rank, int size, MPI_Comm to_adders, MPI_Comm back)
      : whole_(whole), sum_(sum), back_(back) {
    const auto n = static_cast<std::int64_t>(sum.size());
    for (std::int64_t r = 0; r < size; ++r) {
      starts_.push_back(static_cast<int>(n * r / size));
      counts_.push_back(static_cast<int>(n * (r + 1) / size - n * r / size));
    }
    own_ = counts_[static_cast<std::size_t>(rank)];
    own_counts_.assign(static_cast<std::size_t>(size), own_);
    for (int r = 0; r < size; ++r) own_starts_.push_back(r * own_);
    theirs_.resize(static_cast<std::size_t>(own_) * static_cast<std::size_t>(size));
    MPI_Ialltoallv(sum_.data(), counts_.data(), starts_.data(), MPI_FLOAT, theirs_.data(), own_counts_.data(),
                   own_starts_.data(), MPI_FLOAT, to_adders, &request_);
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  bool is_round() const { return handed_round_; }
  /// Whether what was last begun has arrived.
  bool arrived() {
    int done = 0;
    MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
    return done != 0;
  }
  void wait() { MPI_Wait(&request_, MPI_STATUS_IGNORE); }
  /// Adds this rank's range in the order of the ranks, once it has arrived, and begins to hand it round.
  void hand_round() {
    const auto own = static_cast<std::size_t>(own_);
    for (std::size_t from = own; from < theirs_.size(); from += own)
      for (std::size_t i = 0; i < own; ++i) theirs_[i] += theirs_[from + i];
    MPI_Iallgatherv(theirs_.data(), own_, MPI_FLOAT, sum_.data(), counts_.data(), starts_.data(), MPI_FLOAT, back_,
                    &request_);
    handed_round_ = true;
  }

 private:
  Tensor whole_;  ///< keeps alive what MPI writes into
  std::span<float> sum_;
  MPI_Comm back_;
  int own_ = 0;
  std::vector<int> counts_, starts_, own_counts_, own_starts_;
  std::vector<float> theirs_;
  MPI_Request request_ = MPI_REQUEST_NULL;
  bool handed_round_ = false;
};

class MpiGroup final : public Group {
 public:
  MpiGroup() {
    // What a failing call says is MPI's; that it ends all processes is its default, too.
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_dup(MPI_COMM_WORLD, &to_adders_);
    MPI_Comm_dup(MPI_COMM_WORLD, &back_);
    share_ = share_of_machine(*this);
  }
  ~MpiGroup() override { MPI_Finalize(); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_size() const override { return share_.processes; }
  int threads() const override { return share_.threads; }

  void all_reduce(const Tensor& sum) override {
    each_piece(sum, [&](std::span<float> piece) {
      Exchange exchange(sum, piece, rank_, size_, MPI_COMM_WORLD, MPI_COMM_WORLD);
      exchange.wait();
      exchange.hand_round();
      exchange.wait();
    });
  }

  bool overlaps() const override { return true; }

  void start_all_reduce(const Tensor& sum) override {
    each_piece(sum,
               [&](std::span<float> piece) { under_way_.emplace_back(sum, piece, rank_, size_, to_adders_, back_); });
  }

  void advance() override {
    for (Exchange& exchange : under_way_) {
      if (exchange.is_round()) continue;
      if (!exchange.arrived()) return;
      exchange.hand_round();
    }
    while (!under_way_.empty() && under_way_.front().arrived()) under_way_.pop_front();
  }

  void finish_all_reduce() override {
    for (Exchange& exchange : under_way_) {
      if (exchange.is_round()) continue;
      exchange.wait();
      exchange.hand_round();
    }
    for (Exchange& exchange : under_way_) exchange.wait();
    under_way_.clear();
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
  /// Ranges that MPI can count.
  template <class Visit>
  static void each_piece(const Tensor& whole, const Visit& visit) {
    const std::span<float> all = whole.span<float>();
    for (std::size_t first = 0; first < all.size(); first += kMost)
      visit(all.subspan(first, std::min<std::size_t>(kMost, all.size() - first)));
  }

  int rank_ = 0, size_ = 1;
  MachineShare share_;
  // What is exchanged meanwhile meets neither other calls nor its own second half.
  MPI_Comm to_adders_ = MPI_COMM_NULL, back_ = MPI_COMM_NULL;
  std::deque<Exchange> under_way_;
};

}  // namespace

std::unique_ptr<Group> make_mpi_group() { return std::make_unique<MpiGroup>(); }

}  // namespace retort
#endif
