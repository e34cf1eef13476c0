// Commands as a shell takes them, and names of files for people.

extension CommandLine {
    /// This process's command, to be given to a shell again.
    static var asTyped: String { (["resnet"] + arguments.dropFirst()).map(shellWord).joined(separator: " ") }
}

/// The word itself where a shell takes it as it is, otherwise in quotes.
func shellWord(_ word: String) -> String {
    let isPlain = word.unicodeScalars.allSatisfy { letter in
        ("a"..."z").contains(letter) || ("A"..."Z").contains(letter) || ("0"..."9").contains(letter)
            || "-_./,:=+@%".unicodeScalars.contains(letter)
    }
    return isPlain && !word.isEmpty ? word : "'" + word.replacing("'", with: "'\\''") + "'"
}

/// `photos` of `/data/photos/`.
func lastComponent(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
