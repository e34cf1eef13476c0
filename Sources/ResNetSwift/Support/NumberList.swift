// Numbers in a text, as options and names of parts have them.

extension StringProtocol {
    /// `0.5,1`: the numbers between the separators; nil where one of them is none.
    package func numbers<Number: LosslessStringConvertible>(separator: Character = ",") -> [Number]? {
        let parts = split(separator: separator, omittingEmptySubsequences: false)
        let numbers = parts.compactMap { Number(String($0)) }
        return numbers.count == parts.count ? numbers : nil
    }
}
