// Training by several processes: whether there are any, and how a batch is shared out.

import ArgumentParser
import Glibc
import ResNetSwift

extension GradientType: ExpressibleByArgument {}

enum Distribution: String, ExpressibleByArgument, CaseIterable {
    case auto, mpi, none
}

struct DistributionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "auto: several processes if mpirun or srun has started them; mpi: always; none: never.", valueName: "how"))
    var distributed = Distribution.auto

    @Option(
        help: ArgumentHelp(
            "Compute every batch in this many parts, each with its own batch statistics, and add them in a fixed order: 1, "
                + "2, 4 or 8 processes then give the same bits. Default: a part for each process.", valueName: "n"))
    var shards: Int?

    @Flag(
        help:
            "Batch norms use the mean and the variance of the whole batch, over all shards and processes. All shards of a process are in memory at once."
    )
    var syncBatchNorm = false

    @Option(
        help: ArgumentHelp(
            "In which numbers the gradients of shards are added and sent: float32, or bf16, half the bytes.",
            valueName: "type"))
    var gradientDtype = GradientType.float32

    @Flag(
        inversion: .prefixedNo,
        help: "Send gradients to the other processes while the backward pass goes on. The bits are the same.")
    var overlap = true

    func validate() throws {
        guard 1...4096 ~= shards ?? 1 else { throw ValidationError("--shards must be 1 to 4096, not \(shards ?? 0).") }
    }

    /// Starts MPI where that is asked for.
    func processes() throws -> TrainingProcesses {
        let launcher = distributed == .none ? nil : try Launcher.detect()
        guard distributed == .mpi || launcher.map({ $0.size > 1 }) == true else { return TrainingProcesses(mpi: nil) }
        return TrainingProcesses(mpi: try MPIProcesses(launcher))
    }

    /// nil where one process computes the batch as it is.
    func shards(of batch: Int, _ processes: TrainingProcesses) throws -> Int? {
        guard let shards = shards ?? (processes.group.size > 1 ? processes.group.size : nil) else { return nil }
        guard batch % shards == 0 else {
            throw ToolError(
                "--batch \(batch): expected a multiple of \(shards), the number of shards, found a remainder of "
                    + "\(batch % shards)")
        }
        return shards
    }

    func notes(_ setup: TrainingSetup, _ processes: TrainingProcesses) -> [String] {
        let count = processes.group.size
        guard count > 1 else { return [] }
        let size = setup.data.batchSize
        let shards = shards ?? count
        return [
            "\(count) processes, batches of \(size * shards) in \(shards) shards of \(size); the learning rate is for "
                + "the whole batch and is not scaled"
        ]
    }
}

/// The processes of a command, of which all but the first are silent.
struct TrainingProcesses {
    let mpi: MPIProcesses?
    var group: any ProcessGroup { mpi ?? SingleProcess() }
    var isFirst: Bool { group.rank == 0 }

    /// Rank 0's answer, in all processes.
    func ask(_ answer: Bool) throws -> Bool { try group.broadcast([answer ? 1 : 0]) == [1] }

    /// Runs `body`. An error in one process ends all of them, so that nobody waits for it.
    func guarding(_ body: () throws -> Void) throws {
        guard let mpi else { return try body() }
        do { try body() } catch let code as ExitCode {
            mpi.stop()
            throw code
        } catch {
            // What stops all stops rank 0 too, which says so for all.
            if !isFirst { sleep(2) }
            Terminal.error(isFirst ? "\(error)" : "process \(mpi.rank): \(error)")
            mpi.abort(1)
        }
        mpi.stop()
    }
}
