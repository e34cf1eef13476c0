// Which arrays of an npz file are pictures and labels of which part, by the names that data sets use:
//
//     images, labels      x, y      data, target                    everything
//     x_train, y_train, x_val, y_val, x_test, y_test                Keras
//     train_images, train_labels, val_images, ..., test_labels      MedMNIST

/// A pair of arrays.
struct ArrayPair: Sendable, Hashable {
    let images: String
    let labels: String
}

struct ArrayKeys: Sendable {
    let training: ArrayPair
    let validation: ArrayPair?
    let test: ArrayPair?
    /// An array of the classes' names.
    let classNames: String?
    /// Arrays that are none of these.
    let unused: [String]

    /// Of several names for one thing the earliest in these lists counts; the others are listed as unused.
    private static let imageWords = ["images", "image", "imgs", "img", "x", "pictures", "data", "features"]
    private static let labelWords = ["labels", "label", "y", "targets", "target", "class", "classes"]
    private static let nameWords: Set<String> = [
        "class_names", "classnames", "label_names", "labelnames", "classes", "names", "categories",
    ]

    /// nil where there is no pair to train on.
    init?(_ keys: [String]) {
        let named = keys.compactMap { key in Self.split(key).map { (key: key, part: $0.part, word: $0.word) } }
        func key(_ part: DatasetPart?, among words: [String]) -> String? {
            words.lazy.compactMap { word in named.first { $0.part == part && $0.word == word }?.key }.first
        }
        func pair(_ part: DatasetPart?) -> ArrayPair? {
            guard let images = key(part, among: Self.imageWords), let labels = key(part, among: Self.labelWords) else {
                return nil
            }
            return ArrayPair(images: images, labels: labels)
        }
        guard let training = pair(.training) ?? pair(nil) else { return nil }
        self.training = training
        validation = pair(.validation)
        test = pair(.test)
        let pairs = [training, validation, test].compactMap { $0 }
        let used = Set(pairs.flatMap { [$0.images, $0.labels] })
        classNames = keys.first { Self.nameWords.contains($0.lowercased()) && !used.contains($0) }
        let names = classNames
        unused = keys.filter { !used.contains($0) && $0 != names }
    }

    /// `x_train`, `trainX`, `xtrain` and `train_images` in their part and the word for what it is; nil for other names.
    private static func split(_ key: String) -> (part: DatasetPart?, word: String)? {
        var words = DatasetPart.words(of: key)
        if words.count == 1, let word = words.first {
            for letter in ["x", "y"] {
                if word.hasPrefix(letter), DatasetPart.named(String(word.dropFirst())) != nil {
                    words = [letter, String(word.dropFirst())]
                } else if word.hasSuffix(letter), DatasetPart.named(String(word.dropLast())) != nil {
                    words = [letter, String(word.dropLast())]
                }
            }
        }
        let parts = words.compactMap { DatasetPart.named($0)?.part }
        let rest = words.filter { DatasetPart.named($0) == nil }
        guard rest.count == 1, parts.count < 2 else { return nil }
        return (parts.first, rest[0])
    }
}
