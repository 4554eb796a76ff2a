// The ranks of `mpirun -n N retrosim ...`.
#pragma once

#include <memory>

#include "sim/sweep/coordinator.h"

namespace retrosim::cli {

/// Null when this process was not started by mpirun (or another launcher of MPI programs), or as the only rank. Throws
/// InputError when it was, and this program was built without MPI.
///
/// By default mpirun ends all ranks when one is lost, and `--resume` goes on; with `mpirun --enable-recovery` (Open
/// MPI) the others finish the sweep. Destroying the link finalises MPI, which waits for every rank.
std::unique_ptr<RankLink> join_mpi_ranks();

/// Leaves without waiting for ranks that are lost: to be called instead of destroying the link.
void leave_lost_ranks(std::unique_ptr<RankLink> link);

}  // namespace retrosim::cli
