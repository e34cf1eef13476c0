// The number that decides: which epoch was the best, when to stop, when to lower the learning rate.

/// The number that decides: which epoch was the best, when to stop, when to lower the learning rate.
public struct Monitor: Sendable, Hashable, CustomStringConvertible {
    /// What is looked at; the raw values are the names in logs.
    public enum Quantity: String, Sendable, Hashable, CaseIterable {
        /// The loss, which should fall; the part of right answers, which should rise.
        case loss, top1
        /// Right among the best k.
        case topK = "topk"
        /// The mean of the labels' F1.
        case f1
    }

    /// Of the scores.
    public var quantity: Quantity
    /// Of the validation; otherwise of the training.
    public var ofValidation: Bool

    public init(_ quantity: Quantity, ofValidation: Bool = true) {
        self.quantity = quantity
        self.ofValidation = ofValidation
    }

    /// `val_loss`.
    public static let validationLoss = Monitor(.loss)
    /// `val_top1`.
    public static let validationTop1 = Monitor(.top1)

    /// Reads Keras' names: `val_loss`, `loss`, `val_top1` (also `val_accuracy`), `val_topk`, `val_f1`...
    public init?(_ text: String) {
        let isValidation = text.hasPrefix("val_")
        var name = isValidation ? String(text.dropFirst(4)) : text
        if name == "accuracy" { name = Quantity.top1.rawValue }
        guard let quantity = Quantity(rawValue: name) else { return nil }
        self.init(quantity, ofValidation: isValidation)
    }

    public var description: String { (ofValidation ? "val_" : "") + quantity.rawValue }

    /// Losses should fall, everything else should rise: Keras' mode "auto".
    var wantsLess: Bool { quantity == .loss }

    /// The value of an epoch; nil where it was not measured.
    func value(in record: EpochRecord) -> Double? {
        let scores = ofValidation ? record.validation : record.training
        switch quantity {
        case .loss: return scores?.loss
        case .top1: return scores?.top1
        case .topK: return scores?.topK
        case .f1: return scores?.macroF1
        }
    }

    /// Whether a value is better by more than `minDelta`. NaN never is; the first number always is.
    func isBetter(_ value: Double, than best: Double?, by minDelta: Double = 0) -> Bool {
        guard let best else { return !value.isNaN }
        return wantsLess ? value < best - minDelta : value > best + minDelta
    }
}
