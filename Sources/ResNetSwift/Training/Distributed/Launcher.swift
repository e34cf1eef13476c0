// Which launcher has started this process, by the variables that launchers set.

import Glibc

/// What a launcher says about this process.
public struct Launcher: Sendable, Hashable {
    /// For messages: Open MPI, MPICH, Slurm.
    public let name: String
    /// The variable that names the rank.
    public let rankVariable: String
    /// Of this process, from 0.
    public let rank: Int
    /// The variable that names the number of processes.
    public let sizeVariable: String
    /// The number of processes.
    public let size: Int

    /// Launchers by their variables, the first that is set decides.
    private static let known = [
        ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("MPICH", "PMI_RANK", "PMI_SIZE"),
        ("Slurm", "SLURM_PROCID", "SLURM_NTASKS"),
    ]

    /// The launcher of this process; nil where none has set its variables.
    /// - Parameter environment: Reads a variable.
    /// - Throws: `TrainingError.settings` where the variables of a launcher, or of two, contradict each other.
    public static func detect(
        _ environment: (String) -> String? = { getenv($0).map { String(cString: $0) } }
    ) throws(TrainingError) -> Launcher? {
        var found: [Launcher] = []
        for (name, rankVariable, sizeVariable) in known {
            let (rank, size) = (environment(rankVariable), environment(sizeVariable))
            // A Slurm allocation sets its variables in the batch script too, where there is one process.
            if name == "Slurm", environment("SLURM_STEP_ID") == nil || !found.isEmpty { continue }
            guard rank != nil || size != nil else { continue }
            guard let rank = rank.flatMap({ Int($0) }), let size = size.flatMap({ Int($0) }), size >= 1,
                0..<size ~= rank
            else {
                throw .settings(
                    field: "\(rankVariable), \(sizeVariable)", expected: "a rank below a number of processes",
                    found: "\(environment(rankVariable) ?? "nothing"), \(environment(sizeVariable) ?? "nothing")")
            }
            found.append(
                Launcher(
                    name: name, rankVariable: rankVariable, rank: rank, sizeVariable: sizeVariable, size: size))
        }
        if let first = found.first,
            let other = found.dropFirst().first(where: { $0.size != first.size || $0.rank != first.rank })
        {
            throw .settings(
                field: "\(first.rankVariable), \(other.rankVariable)",
                expected: "one launcher, or the same rank and number of processes from both",
                found: "rank \(first.rank) of \(first.size) and rank \(other.rank) of \(other.size)")
        }
        return found.first
    }
}
