// Processes that mpirun or srun has started. MPI is behind libresnet_mpi.so (Sources/CMPI), opened only here.

import Glibc
import ResNetExecution
import ResNetSupport

/// The processes of an MPI job. Make it once, on the thread that trains.
public final class MPIProcesses: ProcessGroup {
    public let rank: Int
    public let size: Int
    private let library: Library

    /// Opens the library beside the program or in `../lib`, or the one that `RESNET_MPI` names, and starts MPI.
    /// - Parameter launcher: What the environment says; MPI has to say the same.
    /// - Throws: `TrainingError.processes` where there is no such library or no MPI.
    public init(_ launcher: Launcher?) throws(TrainingError) {
        library = try Library()
        var (rank, size) = (Int32(0), Int32(0))
        guard library.start(&rank, &size) == 0 else {
            throw .processes(rank: launcher?.rank ?? 0, what: "MPI does not start")
        }
        self.rank = Int(rank)
        self.size = Int(size)
        if let launcher, launcher.size != self.size || launcher.rank != self.rank {
            throw .settings(
                field: launcher.sizeVariable,
                expected: "rank \(launcher.rank) of \(launcher.size) from MPI, as \(launcher.name) says",
                found: "rank \(rank) of \(size): \(library.path) was built for another MPI")
        }
    }

    /// Ends MPI in order; waits for the other processes.
    public func stop() { library.stop() }

    /// Ends all processes of the job at once.
    public func abort(_ code: Int32) -> Never {
        library.abort(code)
        exit(code)
    }

    public func gather(_ bytes: [UInt8]) throws(TrainingError) -> [[UInt8]] {
        var counts = [Int64](repeating: 0, count: size)
        try check(library.counts(Int64(bytes.count), &counts), "counting bytes")
        var parts = [[UInt8]](repeating: [], count: size)
        // MPI counts in int: a slice of everybody's bytes at a time.
        let most = (1 << 27) / size
        for begin in stride(from: 0, to: Int(counts.max() ?? 0), by: most) {
            let slices = counts.map { min(Int64(most), max(0, $0 - Int64(begin))) }
            var all = [UInt8](repeating: 0, count: Int(slices.reduce(0, +)))
            let own = Array(bytes.dropFirst(begin).prefix(most))
            try check(library.gather(own, slices, &all), "gathering \(all.count) bytes")
            var start = 0
            for (rank, count) in slices.enumerated() {
                parts[rank] += all[start..<start + Int(count)]
                start += Int(count)
            }
        }
        return parts
    }

    public func broadcast(_ bytes: [UInt8]) throws(TrainingError) -> [UInt8] {
        var counts = [Int64](repeating: 0, count: size)
        try check(library.counts(Int64(bytes.count), &counts), "counting bytes")
        var result = rank == 0 ? bytes : [UInt8](repeating: 0, count: Int(counts[0]))
        try check(library.broadcast(&result, counts[0]), "sending \(counts[0]) bytes")
        return result
    }

    /// Floats that are exchanged at a time: 25 MiB.
    private static let bucket = 25 << 18

    public func sum(_ vector: UnsafeMutableBufferPointer<Float>) throws(TrainingError) {
        guard size > 1 else { return }
        let room = (min(vector.count, Self.bucket) + size - 1) / size
        let received = UnsafeMutableBufferPointer<Float>.allocate(capacity: size * room)
        defer { received.deallocate() }
        var start = 0
        while start < vector.count {
            let part = UnsafeMutableBufferPointer(rebasing: vector[start..<min(start + Self.bucket, vector.count)])
            try sum(part, received)
            start += part.count
        }
    }

    /// Each process sums its piece of everybody's vectors, then all collect the pieces.
    private func sum(
        _ vector: UnsafeMutableBufferPointer<Float>, _ received: UnsafeMutableBufferPointer<Float>
    ) throws(TrainingError) {
        let lengths = (0..<size).map { Int32(vector.count * ($0 + 1) / size - vector.count * $0 / size) }
        let bytes = lengths.map { 4 * $0 }
        try check(library.scatter(vector.baseAddress!, bytes, received.baseAddress!), "exchanging gradients")
        let own = Int(lengths[rank])
        let first = vector.count * rank / size
        let tree = TreeSum(count: own)
        for process in 0..<size {
            tree.add { $0.baseAddress?.update(from: received.baseAddress! + process * own, count: own) }
        }
        tree.finish { (vector.baseAddress! + first).update(from: $0.baseAddress!, count: own) }
        try check(library.collect(vector.baseAddress!, bytes), "exchanging gradients")
    }

    public func sum(_ vector: UnsafeMutableBufferPointer<Double>) throws(TrainingError) {
        guard size > 1, let base = vector.baseAddress else { return }
        // Every process gets all vectors and adds them alike; so many at a time that the others' take little memory.
        let room = max(1, min(vector.count, (1 << 20) / size))
        let all = UnsafeMutableBufferPointer<Double>.allocate(capacity: size * room)
        defer { all.deallocate() }
        var start = 0
        while start < vector.count {
            let count = min(room, vector.count - start)
            try check(library.share(base + start, Int64(8 * count), all.baseAddress!), "exchanging statistics")
            // Pairs of neighbors, then pairs of pairs: the tree of the ranks.
            var step = 1
            while step < size {
                for first in stride(from: 0, to: size - step, by: 2 * step) {
                    for index in 0..<count { all[first * count + index] += all[(first + step) * count + index] }
                }
                step *= 2
            }
            (base + start).update(from: all.baseAddress!, count: count)
            start += count
        }
    }

    private func check(_ status: Int32, _ what: String) throws(TrainingError) {
        if status != 0 { throw .processes(rank: rank, what: "\(what): MPI failed with \(status)") }
    }
}

/// libresnet_mpi.so.
private struct Library {
    typealias Start = @convention(c) (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32
    typealias Stop = @convention(c) () -> Void
    typealias Abort = @convention(c) (Int32) -> Void
    typealias Counts = @convention(c) (Int64, UnsafeMutablePointer<Int64>) -> Int32
    typealias Gather = @convention(c) (UnsafeRawPointer, UnsafePointer<Int64>, UnsafeMutableRawPointer) -> Int32
    typealias Broadcast = @convention(c) (UnsafeMutableRawPointer, Int64) -> Int32
    typealias Share = @convention(c) (UnsafeRawPointer, Int64, UnsafeMutableRawPointer) -> Int32
    typealias Scatter = @convention(c) (UnsafeRawPointer, UnsafePointer<Int32>, UnsafeMutableRawPointer) -> Int32
    typealias Collect = @convention(c) (UnsafeMutableRawPointer, UnsafePointer<Int32>) -> Int32

    let path: String
    let start: Start
    let stop: Stop
    let abort: Abort
    let counts: Counts
    let gather: Gather
    let broadcast: Broadcast
    let share: Share
    let scatter: Scatter
    let collect: Collect

    init() throws(TrainingError) {
        var program = [CChar](repeating: 0, count: 4096)
        let length = max(0, readlink("/proc/self/exe", &program, program.count - 1))
        let folder = String(decoding: program[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self).parentFolder
        let own = "\(folder)/libresnet_mpi.so"
        let installed = "\(folder.parentFolder)/lib/libresnet_mpi.so"
        let path =
            getenv("RESNET_MPI").map { String(cString: $0) } ?? (access(own, R_OK) == 0 ? own : installed)
        self.path = path
        func missing(_ what: String) -> TrainingError {
            .settings(
                field: "--distributed mpi",
                expected: "\(path), which `make mpi` builds where Open MPI is installed (openmpi-bin, libopenmpi-dev); "
                    + "RESNET_MPI names another place", found: what)
        }
        guard let handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL) else {
            throw missing(dlerror().map { String(cString: $0) } ?? "no such library")
        }
        func function<F>(_ name: String, as type: F.Type) throws(TrainingError) -> F {
            guard let symbol = dlsym(handle, "resnet_mpi_\(name)") else { throw missing("a library without \(name)") }
            return unsafeBitCast(symbol, to: type)
        }
        start = try function("start", as: Start.self)
        stop = try function("stop", as: Stop.self)
        abort = try function("abort", as: Abort.self)
        counts = try function("counts", as: Counts.self)
        gather = try function("gather", as: Gather.self)
        broadcast = try function("broadcast", as: Broadcast.self)
        share = try function("share", as: Share.self)
        scatter = try function("scatter", as: Scatter.self)
        collect = try function("collect", as: Collect.self)
    }
}
