// Time and memory of this process, as the operating system counts them.

import Glibc

enum ProcessClock {
    /// Seconds since boot.
    static func now() -> Double { seconds(CLOCK_BOOTTIME) }

    /// When `main` began and how much CPU time it had taken to get there (loading, linking). Read it first thing in `main`.
    static let mainStarted: (time: Double, cpu: Double) = (now(), seconds(CLOCK_PROCESS_CPUTIME_ID))

    /// Seconds since boot when the process started. The kernel tells it in ticks of 10 ms (field 22 of /proc/self/stat);
    /// within its tick, the process cannot have started later than its CPU time before `main` allows.
    static var started: Double {
        let (time, cpu) = mainStarted
        guard let fields = statFields(), let ticks = Double(fields) else { return time - cpu }
        let tick = 1 / Double(sysconf(Int32(_SC_CLK_TCK)))
        let earliest = ticks * tick
        return min(max(time - cpu, earliest), earliest + tick)
    }

    /// Field 22 of /proc/self/stat. The name of the program, field 2, is in brackets and may contain anything.
    private static func statFields() -> String? {
        guard let text = readText("/proc/self/stat"), let bracket = text.lastIndex(of: ")") else { return nil }
        let fields = text[bracket...].split(separator: " ")
        return fields.count > 20 ? String(fields[20]) : nil
    }

    /// The most memory that was resident at once, in MiB (VmHWM; unlike getrusage, it forgets the parent's).
    static var peakMemory: Double {
        let lines = (readText("/proc/self/status") ?? "").split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("VmHWM:") }),
            let kibibytes = Double(line.split(whereSeparator: { " \t".contains($0) }).dropFirst().first ?? "")
        else { return 0 }
        return kibibytes / 1024
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

/// The text of a file that need not have a size (/proc); nil where it cannot be read or is no text.
func readText(_ path: String, limit: Int = 64 << 20) -> String? {
    let descriptor = path.withFileName { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while bytes.count <= limit {
        let got = read(descriptor, &chunk, chunk.count)
        if got > 0 {
            bytes += chunk[..<got]
        } else if got == 0 {
            return String(textFile: bytes)
        } else if errno != EINTR {
            return nil
        }
    }
    return nil
}
