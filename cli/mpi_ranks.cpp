#include "cli/mpi_ranks.h"

#include <cstdlib>
#include <string>

#include "model/error.h"

#ifdef RETROSIM_HAVE_MPI
#include <mpi.h>

#include <chrono>
#include <list>
#include <thread>
#endif

namespace retrosim::cli {
namespace {

/// The number of ranks that a launcher announces: Open MPI, then MPICH, Intel MPI and Slurm.
int announced_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return 1;
}

#ifdef RETROSIM_HAVE_MPI

constexpr int kTag = 7;

class MpiRanks final : public RankLink {
 public:
  MpiRanks() {
    // Open MPI's search for fast fabrics takes 0.2 s on every start; a sweep's messages are few and small. What the
    // user sets stands.
    setenv("OMPI_MCA_pml", "ob1", 0);
    int provided = 0;
    // This thread alone talks; others compute.
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    if (provided < MPI_THREAD_FUNNELED) throw InputError("", "MPI", "no threads", "an MPI library that allows threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // a lost rank is the coordinator's business
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiRanks() override {
    if (!finalises_) {
      deliver_what_can_be();
      return;
    }
    for (Outgoing& message : outgoing_) MPI_Wait(&message.request, MPI_STATUS_IGNORE);
    MPI_Finalize();
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void send(int to, const RankMessage& message) override {
    forget_delivered();
    Outgoing& next = outgoing_.emplace_back(Outgoing{encode(message), MPI_REQUEST_NULL});
    MPI_Isend(next.bytes.data(), static_cast<int>(next.bytes.size()), MPI_BYTE, to, kTag, MPI_COMM_WORLD,
              &next.request);
  }

  std::optional<RankMessage> receive() override {
    int there = 0;
    MPI_Status status{};
    if (MPI_Iprobe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &there, &status) != MPI_SUCCESS || there == 0) {
      return std::nullopt;
    }
    int size = 0;
    MPI_Get_count(&status, MPI_BYTE, &size);
    std::string bytes(static_cast<std::size_t>(size), '\0');
    if (MPI_Recv(bytes.data(), size, MPI_BYTE, status.MPI_SOURCE, kTag, MPI_COMM_WORLD, &status) != MPI_SUCCESS) {
      return std::nullopt;
    }
    return decode(bytes, status.MPI_SOURCE);
  }

  void leave() { finalises_ = false; }

 private:
  struct Outgoing {
    std::string bytes;
    MPI_Request request;
  };

  void forget_delivered() {
    outgoing_.remove_if([](Outgoing& sent) {
      int done = 0;
      return MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
    });
  }
  /// Ranks that are lost take no message: half a second for the others.
  void deliver_what_can_be() {
    for (int i = 0; i < 100 && !outgoing_.empty(); ++i) {
      forget_delivered();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  int rank_ = 0;
  int size_ = 1;
  bool finalises_ = true;
  std::list<Outgoing> outgoing_;  // addresses must stay
};

#endif

}  // namespace

std::unique_ptr<RankLink> join_mpi_ranks() {
  if (announced_ranks() <= 1) return nullptr;
#ifdef RETROSIM_HAVE_MPI
  return std::make_unique<MpiRanks>();
#else
  throw InputError("", "mpirun", std::to_string(announced_ranks()) + " ranks",
                   "a retrosim built with MPI (Debian: libopenmpi-dev; ./dev installs it)");
#endif
}

void leave_lost_ranks(std::unique_ptr<RankLink> link) {
#ifdef RETROSIM_HAVE_MPI
  if (auto* ranks = dynamic_cast<MpiRanks*>(link.get())) ranks->leave();
#endif
}

}  // namespace retrosim::cli
