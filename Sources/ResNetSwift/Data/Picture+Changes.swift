// The changes of RandAugment and TrivialAugment on pictures, with the pixels that torchvision gives for PIL pictures.

import Glibc
import ResNetGraph

extension Picture {
    /// torchvision's RandAugment: changes one after the other, all of one magnitude.
    func randAugmented(operations: Int, magnitude: Int, _ random: inout SampleRandom) -> Picture {
        var result = self
        for _ in 0..<operations {
            let (change, magnitude) = AugmentationPolicy.randAugment.draw(
                bin: magnitude, of: Size2(height, width), &random)
            result = result.changed(change, magnitude)
        }
        return result
    }

    /// torchvision's TrivialAugmentWide: one change.
    func trivialAugmented(_ random: inout SampleRandom) -> Picture {
        let (change, magnitude) = AugmentationPolicy.trivialAugmentWide.draw(
            bin: nil, of: Size2(height, width), &random)
        return changed(change, magnitude)
    }

    /// - Parameter magnitude: as `AugmentationPolicy.magnitude` says, perhaps negative.
    /// - Precondition: 1 or 3 channels.
    func changed(_ change: PictureChange, _ magnitude: Double) -> Picture {
        switch change {
        case .identity: return self
        case .shearX: return moved([1, tan(atan(magnitude)), 0, 0, 1, 0])
        case .shearY: return moved([1, 0, 0, tan(atan(magnitude)), 1, 0])
        case .translateX: return moved([1, 0, -magnitude.rounded(.towardZero), 0, 1, 0])
        case .translateY: return moved([1, 0, 0, 0, 1, -magnitude.rounded(.towardZero)])
        case .rotate: return rotated(degrees: magnitude)
        case .brightness: return recolored { PixelKernels.brightness($0, factor: 1 + magnitude) }
        case .color:
            return channels == 1 ? self : recolored { PixelKernels.saturation($0, factor: 1 + magnitude) }
        case .contrast: return recolored { PixelKernels.contrast($0, channels: channels, factor: 1 + magnitude) }
        case .sharpness: return sharpened(factor: 1 + magnitude)
        case .posterize:
            let dropped = 8 - Int(magnitude)
            return lookedUp { value in UInt8((value >> dropped) << dropped) }
        case .solarize:
            return lookedUp { value in UInt8(Double(value) < magnitude ? value : 255 - value) }
        case .autoContrast: return lookedUp(byCounts: Self.stretching)
        case .equalize: return lookedUp(byCounts: Self.equalizing)
        }
    }

    // MARK: - Places

    private func moved(_ map: [Double]) -> Picture {
        Picture(height: height, width: width, channels: channels) { target in
            pixels.withUnsafeBufferPointer {
                PixelKernels.affine(
                    $0.baseAddress!, height: height, width: width, channels: channels, map, into: target)
            }
        }
    }

    /// Counterclockwise about the middle, as Pillow's `rotate`: sine and cosine have 15 decimals, so that right angles
    /// are exact.
    private func rotated(degrees: Double) -> Picture {
        func short(_ value: Double) -> Double { (value * 1e15).rounded(.toNearestOrEven) / 1e15 }
        let angle = -(degrees < 0 ? degrees + 360 : degrees) * (Double.pi / 180)
        let (cosine, sine) = (short(cos(angle)), short(sin(angle)))
        let (x, y) = (Double(width) / 2, Double(height) / 2)
        return moved([
            cosine, sine, cosine * -x + sine * -y + x,
            -sine, cosine, -sine * -x + cosine * -y + y,
        ])
    }

    // MARK: - Colors

    private func recolored(_ body: (UnsafeMutableBufferPointer<UInt8>) -> Void) -> Picture {
        var changed = pixels
        changed.withUnsafeMutableBufferPointer { body($0) }
        return Picture(height: height, width: width, channels: channels, pixels: changed)
    }

    private func sharpened(factor: Double) -> Picture {
        Picture(height: height, width: width, channels: channels) { target in
            pixels.withUnsafeBufferPointer {
                PixelKernels.sharpness(
                    $0.baseAddress!, height: height, width: width, channels: channels, factor: factor, into: target)
            }
        }
    }

    /// Every value becomes another.
    private func lookedUp(_ value: (Int) -> UInt8) -> Picture {
        let table = (0...255).map(value)
        let tables = (0..<channels).flatMap { _ in table }
        return recolored { PixelKernels.lookUp($0, channels: channels, tables: tables) }
    }

    /// Each channel through a table that is made from its histogram.
    private func lookedUp(byCounts table: ([UInt64]) -> [UInt8]) -> Picture {
        let counts = PixelKernels.histogram(pixels, channels: channels)
        let tables = (0..<channels).flatMap { table(Array(counts[$0 * 256..<($0 + 1) * 256])) }
        return recolored { PixelKernels.lookUp($0, channels: channels, tables: tables) }
    }

    /// Pillow's `autocontrast`: the darkest value becomes 0, the brightest 255.
    private static func stretching(_ counts: [UInt64]) -> [UInt8] {
        let (low, high) = (counts.firstIndex { $0 > 0 } ?? 0, counts.lastIndex { $0 > 0 } ?? 0)
        guard high > low else { return Array(0...255) }
        let scale = 255 / Double(high - low)
        let offset = Double(-low) * scale
        return (0...255).map { UInt8(min(max(Double($0) * scale + offset, 0), 255)) }
    }

    /// Pillow's `equalize`: values get places in proportion to how many pixels are darker.
    private static func equalizing(_ counts: [UInt64]) -> [UInt8] {
        let last = counts.last { $0 > 0 } ?? 0
        let step = (counts.reduce(0, +) - last) / 255
        guard step > 0 else { return Array(0...255) }
        var darker = step / 2
        return counts.map { count in
            defer { darker += count }
            return UInt8(min(darker / step, 255))
        }
    }
}
