// What the library and an open network are.

import CResNetHeader
import Glibc
import ResNetSwift

private nonisolated(unsafe) let version: UnsafePointer<CChar> = UnsafePointer(strdup(Machine.kernelVersion))
private nonisolated(unsafe) let instructionSet: UnsafePointer<CChar>? = (try? Machine.instructionSet())
    .flatMap { UnsafePointer(strdup($0)) }
private nonisolated(unsafe) let modelNames: [UnsafePointer<CChar>] = ModelName.allCases.compactMap {
    UnsafePointer(strdup($0.rawValue))
}

@_cdecl("resnet_version")
public func resnetVersion() -> UnsafePointer<CChar> { version }

@_cdecl("resnet_instruction_set")
public func resnetInstructionSet() -> UnsafePointer<CChar>? { instructionSet }

@_cdecl("resnet_model_name")
public func resnetModelName(_ index: Int32) -> UnsafePointer<CChar>? {
    modelNames.indices.contains(Int(index)) ? modelNames[Int(index)] : nil
}

@_cdecl("resnet_describe")
public func resnetDescribe(_ network: OpaquePointer?, _ info: UnsafeMutablePointer<resnet_info>?) -> resnet_status {
    guard let network = try? Handles.network(network), let info else { return RESNET_INVALID_ARGUMENT }
    let plan = network.plan
    info.pointee = resnet_info()
    info.pointee.input = network.takesFloats ? RESNET_FLOATS : RESNET_BYTES
    info.pointee.channels = Int32(plan.input.channels)
    info.pointee.height = Int32(plan.input.height)
    info.pointee.width = Int32(plan.input.width)
    info.pointee.classes = Int32(network.classes)
    info.pointee.features = Int32(network.features)
    info.pointee.threads = Int32(plan.threads)
    info.pointee.has_class_names = network.classNames.isEmpty ? 0 : 1
    withUnsafeMutableBytes(of: &info.pointee.model) { copy(network.classifier.name, to: $0) }
    withUnsafeMutableBytes(of: &info.pointee.precision) { copy(plan.precision.rawValue, to: $0) }
    return RESNET_OK
}

@_cdecl("resnet_class_name")
public func resnetClassName(_ network: OpaquePointer?, _ index: Int32) -> UnsafePointer<CChar>? {
    guard let names = try? Handles.network(network).classNames, names.indices.contains(Int(index)) else { return nil }
    return UnsafePointer(names[Int(index)])
}

@_cdecl("resnet_threshold")
public func resnetThreshold(_ network: OpaquePointer?, _ index: Int32) -> Float {
    guard let thresholds = (try? Handles.network(network))?.classifier.thresholds,
        thresholds.indices.contains(Int(index))
    else { return .nan }
    return Float(thresholds[Int(index)])
}

@_cdecl("resnet_normalization")
public func resnetNormalization(
    _ network: OpaquePointer?, _ mean: UnsafeMutablePointer<Float>?, _ std: UnsafeMutablePointer<Float>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    answer(error) {
        let network = try Handles.network(network)
        let mean = try required(mean, "mean")
        let std = try required(std, "std")
        try checkAlignment("mean", mean)
        try checkAlignment("std", std)
        let (transform, channels) = (network.classifier.transform, network.plan.input.channels)
        guard transform.channels == channels else {
            throw Refusal(
                RESNET_UNSUPPORTED,
                "\(network.classifier.origin): expected a transform of \(channels) channels, found one of "
                    + "\(transform.channels)")
        }
        // x = byte * scale + shift = (byte / 255 - mean) / std
        for (channel, (scale, shift)) in zip(transform.scale, transform.shift).enumerated() {
            std[channel] = Float(1 / (255 * Double(scale)))
            mean[channel] = Float(-Double(shift) / (255 * Double(scale)))
        }
    }
}

@_cdecl("resnet_transform")
public func resnetTransform(_ network: OpaquePointer?) -> UnsafePointer<CChar>? {
    (try? Handles.network(network)).map { UnsafePointer($0.transform) }
}
