// Processes that mpirun or srun has started. MPI is behind libresnet_mpi.so (Sources/CMPI), opened only here.

import Glibc
import ResNetExecution
import ResNetSupport

/// The processes of an MPI job. Make it once; MPI runs on a thread of its own.
public final class MPIProcesses: ProcessGroup, @unchecked Sendable {
    // Unchecked: one caller at a time, and all of MPI on one thread.

    public let rank: Int
    public let size: Int
    private let library: Library
    /// Makes all calls of MPI.
    private let thread = CommunicationThread()

    /// Opens the library beside the program or in `../lib`, or the one that `RESNET_MPI` names, and starts MPI.
    /// - Parameter launcher: What the environment says; MPI has to say the same.
    /// - Throws: `TrainingError.processes` where there is no such library or no MPI.
    public init(_ launcher: Launcher?) throws(TrainingError) {
        let library = try Library()
        self.library = library
        let (rank, size) = try thread.perform { () throws(TrainingError) in
            var (rank, size) = (Int32(0), Int32(0))
            guard library.start(&rank, &size) == 0 else {
                throw .processes(rank: launcher?.rank ?? 0, what: "MPI does not start")
            }
            return (rank, size)
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
    public func stop() {
        thread.post { [library] in library.stop() }
        thread.stop()
    }

    /// Ends all processes of the job at once.
    public func abort(_ code: Int32) -> Never {
        library.abort(code)
        exit(code)
    }

    public func gather(_ bytes: [UInt8]) throws(TrainingError) -> [[UInt8]] {
        try thread.perform { () throws(TrainingError) in try gatherAll(bytes) }
    }

    private func gatherAll(_ bytes: [UInt8]) throws(TrainingError) -> [[UInt8]] {
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
        try thread.perform { () throws(TrainingError) in try broadcastFirst(bytes) }
    }

    private func broadcastFirst(_ bytes: [UInt8]) throws(TrainingError) -> [UInt8] {
        var counts = [Int64](repeating: 0, count: size)
        try check(library.counts(Int64(bytes.count), &counts), "counting bytes")
        var result = rank == 0 ? bytes : [UInt8](repeating: 0, count: Int(counts[0]))
        try check(library.broadcast(&result, counts[0]), "sending \(counts[0]) bytes")
        return result
    }

    /// Floats that are exchanged at a time: 25 MiB.
    private static let bucket = 25 << 18

    public func sum(_ vector: UnsafeMutableBufferPointer<Float>, _ type: GradientType) throws(TrainingError) {
        guard size > 1 else { return }
        try thread.perform { () throws(TrainingError) in
            var start = 0
            while start < vector.count {
                let end = min(start + Self.bucket, vector.count)
                try sumPart(UnsafeMutableBufferPointer(rebasing: vector[start..<end]), type)
                start = end
            }
        }
    }

    public func post(_ work: @escaping () -> Void) { thread.post(work) }

    /// Each process sums its piece of everybody's vectors, then all collect the pieces.
    private func sumPart(_ vector: UnsafeMutableBufferPointer<Float>, _ type: GradientType) throws(TrainingError) {
        let starts = (0...size).map { vector.count * $0 / size }
        let (first, own) = (starts[rank], starts[rank + 1] - starts[rank])
        let width = type == .bf16 ? 2 : 4
        let lengths = (0..<size).map { Int32(width * (starts[$0 + 1] - starts[$0])) }
        let received = UnsafeMutableRawPointer.allocate(byteCount: width * max(1, size * own), alignment: 64)
        defer { received.deallocate() }
        let sum = UnsafeMutableBufferPointer(rebasing: vector[first..<first + own])
        let tree = TreeSum(count: own, rounded: type == .bf16 ? 0..<own : 0..<0)
        guard type == .bf16 else {
            try check(library.scatter(vector.baseAddress!, lengths, received), "exchanging gradients")
            let floats = received.assumingMemoryBound(to: Float.self)
            for process in 0..<size {
                tree.add { $0.baseAddress!.update(from: floats + process * own, count: own) }
            }
            tree.finish { sum.baseAddress?.update(from: $0.baseAddress!, count: own) }
            return try check(library.collect(vector.baseAddress!, lengths), "exchanging gradients")
        }
        let halves = UnsafeMutablePointer<UInt16>.allocate(capacity: vector.count)
        defer { halves.deallocate() }
        let arrived = received.bindMemory(to: UInt16.self, capacity: size * own)
        BFloat16.pack(UnsafeBufferPointer(vector), to: halves)
        try check(library.scatter(halves, lengths, arrived), "exchanging gradients")
        for process in 0..<size { tree.add { BFloat16.unpack(arrived + process * own, to: $0) } }
        tree.finish { BFloat16.pack(UnsafeBufferPointer($0), to: halves + first) }
        try check(library.collect(halves, lengths), "exchanging gradients")
        BFloat16.unpack(halves, to: vector)
    }

    public func sum(_ vector: UnsafeMutableBufferPointer<Double>) throws(TrainingError) {
        guard size > 1, let base = vector.baseAddress else { return }
        try thread.perform { () throws(TrainingError) in try sumStatistics(vector, base) }
    }

    private func sumStatistics(
        _ vector: UnsafeMutableBufferPointer<Double>, _ base: UnsafeMutablePointer<Double>
    ) throws(TrainingError) {
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
