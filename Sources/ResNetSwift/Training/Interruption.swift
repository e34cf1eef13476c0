// Ctrl-C as a question: a signal sets a flag, the trainer asks for it between updates, saves and ends. The second Ctrl-C
// ends the program at once.

import Glibc
import Synchronization

/// Ctrl-C as a question: a signal sets a flag, the trainer asks for it between updates, saves and ends. The second one
/// ends the program at once.
public enum Interruption {
    private static let received = Atomic<Int32>(0)

    /// SIGINT and SIGTERM are from now on a request to stop.
    public static func watch() {
        // Whatever is set up lazily is set up now: a signal handler must not do it.
        received.store(0, ordering: .relaxed)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in
            if Interruption.received.exchange(signal, ordering: .relaxed) != 0 {
                Glibc.signal(signal, SIG_DFL)
                raise(signal)
            }
        }
        action.sa_flags = Int32(SA_RESTART)
        sigaction(SIGINT, &action, nil)
        sigaction(SIGTERM, &action, nil)
    }

    /// Somebody has asked since `watch`.
    public static var isRequested: Bool { signal != nil }

    /// The signal that asked last since `watch`; a program that stops for it exits with 128 plus its number, as shells expect.
    public static var signal: Int32? {
        let number = received.load(ordering: .relaxed)
        return number == 0 ? nil : number
    }
}
