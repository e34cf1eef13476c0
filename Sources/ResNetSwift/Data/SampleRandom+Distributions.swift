// Distributions that mixing needs, from uniform numbers.

import Glibc

extension SampleRandom {
    /// Standard normal: Box and Muller (1958), from two uniform numbers.
    mutating func normal() -> Double {
        let radius = (-2 * log(1 - uniform())).squareRoot()
        return radius * cos(2 * Double.pi * uniform())
    }

    /// Gamma(shape, 1): Marsaglia and Tsang, A Simple Method for Generating Gamma Variables (2000). Shapes below 1 come
    /// from the next larger one times U^(1 / shape), in logarithms, because the power of a small shape underflows.
    /// - Returns: the logarithm of the value.
    private mutating func logGamma(_ shape: Double) -> Double {
        if shape < 1 {
            let larger = logGamma(shape + 1)
            return larger + log(1 - uniform()) / shape
        }
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = normal()
            let root = 1 + c * x
            guard root > 0 else { continue }
            let v = root * root * root
            if log(1 - uniform()) < 0.5 * x * x + d - d * v + d * log(v) { return log(d) + log(v) }
        }
    }

    /// Beta(alpha, alpha), symmetric about one half.
    /// - Precondition: alpha is positive.
    mutating func beta(_ alpha: Double) -> Double {
        precondition(alpha > 0, "Beta needs a positive parameter, not \(alpha)")
        let (a, b) = (logGamma(alpha), logGamma(alpha))
        return 1 / (1 + exp(b - a))
    }
}
