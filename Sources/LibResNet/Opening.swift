// Opening and closing networks.

import CResNetHeader
import ResNetSwift

@_cdecl("resnet_open")
public func resnetOpen(
    _ weights: UnsafePointer<CChar>?, _ options: UnsafePointer<resnet_options>?,
    _ network: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    open(options, network, error) { choices in
        let path = try text(try required(weights, "weights", "a path"), "weights")
        return try Classifier(weights: path, options: choices)
    }
}

@_cdecl("resnet_open_source")
public func resnetOpenSource(
    _ source: UnsafePointer<resnet_source>?, _ options: UnsafePointer<resnet_options>?,
    _ network: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    open(options, network, error) { choices in
        try classifier(try required(source, "source", "where weights come from").pointee, choices)
    }
}

@_cdecl("resnet_with_views")
public func resnetWithViews(
    _ network: OpaquePointer?, _ views: UnsafePointer<CChar>?, _ result: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<resnet_error>?
) -> resnet_status {
    result?.pointee = nil
    return answer(error) {
        let network = try Handles.network(network)
        let result = try required(result, "result", "a place for the network")
        let augmentation: TestTimeAugmentation = try choice(try required(views, "views", "a name"), "views")
        if augmentation != .none { _ = try network.classifier.pictureTransform(for: augmentation) }
        result.pointee = Handles.add(try Network(network.classifier, network.plan, augmentation))
    }
}

@_cdecl("resnet_close")
public func resnetClose(_ network: OpaquePointer?) {
    guard let network else { return }
    _ = Handles.remove(network)
}

private func open(
    _ options: UnsafePointer<resnet_options>?, _ network: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<resnet_error>?, _ classifier: (ClassifierOptions) throws -> Classifier
) -> resnet_status {
    network?.pointee = nil
    return answer(error) {
        let network = try required(network, "network", "a place for the network")
        let options = options?.pointee ?? resnet_options()
        let choices = try choices(options)
        _ = try Machine.instructionSet()
        let classifier = try classifier(choices)
        let plan = try classifier.plan(size: try size(options, classifier), input: try input(options, classifier))
        network.pointee = Handles.add(try Network(classifier, plan))
    }
}

private func choices(_ options: resnet_options) throws -> ClassifierOptions {
    for (name, value) in [("height", options.height), ("width", options.width), ("batch", options.batch)]
    where value < 0 || value > 1 << 16 {
        throw Refusal(RESNET_INVALID_ARGUMENT, "options.\(name): expected 0...65536, found \(value)")
    }
    guard options.threads >= 0, options.threads <= 1024 else {
        throw Refusal(RESNET_INVALID_ARGUMENT, "options.threads: expected 0...1024, found \(options.threads)")
    }
    guard options.input == RESNET_FLOATS || options.input == RESNET_BYTES else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT,
            "options.input: expected RESNET_FLOATS or RESNET_BYTES, found \(options.input.rawValue)")
    }
    var choices = ClassifierOptions(
        model: try options.model.map { try ModelName(named: String(cString: $0)) },
        batch: options.batch == 0 ? 8 : Int(options.batch), threads: Int(options.threads))
    choices.accuracy = options.strict == 0 ? .default : .strict
    choices.precision = try options.precision.map { try choice($0, "options.precision") }
    choices.packed = try options.packed.map { try text($0, "options.packed") }
    if options.height > 0, options.width > 0 {
        choices.inputSize = Size2(Int(options.height), Int(options.width))
    }
    return choices
}

/// One of several by its name.
private func choice<Choice: CaseIterable & RawRepresentable<String>>(
    _ pointer: UnsafePointer<CChar>, _ what: String
) throws -> Choice {
    let name = try text(pointer, what)
    guard let choice = Choice(rawValue: name) else {
        let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        throw Refusal(RESNET_INVALID_ARGUMENT, "\(what): expected one of \(names), found '\(name)'")
    }
    return choice
}

/// One side may be given, and the other be the usual one.
private func size(_ options: resnet_options, _ classifier: Classifier) throws -> Size2 {
    let usual = classifier.inputSize
    return Size2(
        options.height > 0 ? Int(options.height) : usual.height, options.width > 0 ? Int(options.width) : usual.width)
}

private func input(_ options: resnet_options, _ classifier: Classifier) throws -> InputKind {
    guard options.input == RESNET_BYTES else { return .floatNCHW }
    let transform = classifier.transform
    guard transform.channels == classifier.inputChannels else {
        throw Refusal(
            RESNET_UNSUPPORTED,
            "\(classifier.origin): bytes need to know how \(classifier.inputChannels) channels are normalized; the weights "
                + "say so for \(transform.channels)")
    }
    return .bytesNHWC(scale: transform.scale, shift: transform.shift)
}

private func classifier(_ source: resnet_source, _ choices: ClassifierOptions) throws -> Classifier {
    var choices = choices
    choices.transform = try source.transform.map(transform)
    choices.classNames = try classNames(source)
    choices.classNamesOrigin = "source.class_names"
    for reserved in [source.reserved.0, source.reserved.1, source.reserved.2, source.reserved.3] where reserved != nil {
        throw Refusal(RESNET_INVALID_ARGUMENT, "source.reserved: expected NULL")
    }
    choices.key = try source.key.map { try text($0, "source.key") }
    choices.prefix = try source.prefix.map { try text($0, "source.prefix") }
    if let path = source.path { return try Classifier(weights: try text(path, "source.path"), options: choices) }
    if let weights = source.weights {
        return try Classifier(
            weights: try copied(weights, source.weights_size, "source.weights"), options: choices)
    }
    guard let model = choices.model else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT, "source: expected path, weights, or options.model for random weights, found none")
    }
    return try Classifier(
        randomWeightsOf: model, classes: source.classes == 0 ? nil : Int(source.classes), seed: source.seed,
        options: choices)
}

/// By name, or as JSON.
private func transform(_ pointer: UnsafePointer<CChar>) throws -> ImageTransform {
    let description = try text(pointer, "source.transform")
    if let known = ImageTransform(named: description) { return known }
    guard description.first == "{" else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT,
            "source.transform: expected imagenet, imagenet-v2, inception, cifar, digits or JSON, found '\(description)'"
        )
    }
    do { return try ImageTransform(json: description) } catch {
        throw Refusal(RESNET_INVALID_ARGUMENT, "source.transform: \(error)")
    }
}

private func classNames(_ source: resnet_source) throws -> [String]? {
    guard let names = source.class_names else { return nil }
    guard 1...1_000_000 ~= source.class_name_count else {
        throw Refusal(
            RESNET_INVALID_ARGUMENT, "source.class_name_count: expected 1...1000000, found \(source.class_name_count)")
    }
    return try (0..<Int(source.class_name_count)).map { index in
        let name = "source.class_names[\(index)]"
        return try text(try required(names[index], name, "a name"), name)
    }
}
