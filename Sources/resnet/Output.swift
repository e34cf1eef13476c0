// Standard output: results, for people and as JSON.

import ResNetSwift

/// What the user asked for. Names and metadata come from files of others: nothing of them reaches a terminal as a command,
/// except in JSON, which is for programs.
enum Output {
    /// Lines for people.
    static func text(_ text: String, terminator: String = "\n") {
        print(text.escapedForTerminal(keepingLines: true), terminator: terminator)
    }

    /// One line for people, such as a path.
    static func line(_ text: String) { print(text.escapedForTerminal) }

    /// A line of JSON, as it is.
    static func json(_ value: JSONValue) { print(value.text) }
}
