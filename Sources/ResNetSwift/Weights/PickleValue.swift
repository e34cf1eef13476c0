// What a pickle can build here. Objects live in one arena and refer to each other by index: a hostile pickle can then
// neither make cycles that never die nor chains whose destruction overflows the stack.

import ResNetSupport

/// An immediate value, or the index of something in `PickleHeap`.
package enum PickleValue: Sendable, Hashable {
    case none
    case bool(Bool)
    case integer(Int)
    /// An integer beyond 64 bits, little-endian two's complement, at most 255 bytes.
    case long([UInt8])
    case float(Double)
    case string(String)
    /// Of `PickleHeap.bytes(_:)`.
    case bytes(Int)
    /// Of `PickleHeap.globalName(_:)`.
    case global(Int)
    case object(Int)
}

/// Bytes inside a pickle, where they lie.
package struct PickleBytes: Sendable, Hashable {
    package enum Encoding: Sendable, Hashable {
        case plain
        /// Text in UTF-8, too long for a key.
        case text
        /// UTF-8 text whose characters are the bytes: how protocol 2 writes bytes, through `_codecs.encode(..., 'latin1')`.
        case latin1Text
        /// Decoded already: of `PickleHeap.decoded(_:)`.
        case decoded(Int)
        /// Not to be had: protocol 5's buffers out of band, long texts of protocol 0 that are no bytes.
        case elsewhere
    }

    /// In the pickle's bytes.
    package let range: Range<Int>
    package let encoding: Encoding
}

/// A storage that a persistent id named: bytes of the file, or a part of them.
struct PickleStorage: Sendable, Hashable {
    enum Elements: Sendable, Hashable {
        case known(ElementType)
        /// Bytes; the tensor says what they mean.
        case untyped
        /// A class that is not known here, by its name.
        case unknown(String)
    }

    let elements: Elements
    /// Number of elements; of bytes where untyped.
    let count: Int
    /// Which storage of the container, and the first element within it (a view of an older format).
    let key: String
    let start: Int

    /// Bytes per element; nil where the class is not known.
    var elementSize: Int? {
        switch elements {
        case .known(let type): type.size
        case .untyped: 1
        case .unknown: nil
        }
    }

    var typeName: String {
        switch elements {
        case .known(let type): type.rawValue
        case .untyped: "bytes"
        case .unknown(let name): name
        }
    }
}

struct PickleTensor: Sendable, Hashable {
    let storage: PickleStorage
    let type: ElementType
    let geometry: TensorGeometry
}

/// An object of a class, or the result of a call, that means nothing here: nothing was executed, and it is kept only so that
/// what lies inside can be found.
struct PickleInstance: Sendable {
    /// The class or function.
    let callable: PickleValue
    let arguments: PickleValue
    /// What BUILD set, usually a dict of attributes.
    var state: PickleValue = .none
    /// Keys and values in turn, of subclasses of dict.
    var pairs: [PickleValue] = []
}

struct PickleObject: Sendable {
    enum Kind: UInt8, Sendable {
        case list, tuple, dict, set
        case storage, tensor
        /// A tensor that cannot be read; its reason is known.
        case unreadTensor
        /// A `Parameter` made by class and state; its one item is the tensor, once there.
        case parameter
        /// A NumPy array; its items are shape, dtype, whether in Fortran's order, and bytes, once there.
        case array
        /// Its items are the name, `f4`, and the byte order, `<`.
        case arrayType
        /// Of a class that is not known.
        case instance
    }

    let kind: Kind
    /// Of storages, tensors, reasons or instances: which of the heap's.
    let detail: Int32
    /// Elements; for dicts keys and values in turn.
    var items: [PickleValue]
}

/// All objects of one or more pickles.
package struct PickleHeap: Sendable {
    private(set) var objects: [PickleObject] = []
    private var storages: [PickleStorage] = []
    private var tensors: [PickleTensor] = []
    private var reasons: [String] = []
    private var instances: [PickleInstance] = []
    private var byteStrings: [PickleBytes] = []
    private var decodedBytes: [[UInt8]] = []
    private var decodedLeft = 48 << 20
    private var globals: [(name: String, known: PickleGlobal?)] = []
    private var globalIndex: [String: Int] = [:]

    /// An honest ResNet-152 with its optimizer state makes about 10,000; some people keep a list of 200,000 pairs beside.
    static let maximumObjects = 600_000
    static let maximumGlobals = 10_000

    /// Values that may still be put into objects: a bound on the memory of all of them.
    private var itemsLeft = 3_000_000

    package init() {}

    /// Counts values before they are copied into an object. A short program could ask for the same long list again and again.
    mutating func charge(_ count: Int) throws(WeightFault) {
        guard count <= itemsLeft else { throw .exceedsLimit("a pickle that makes more than 3,000,000 values") }
        itemsLeft -= count
    }

    subscript(index: Int) -> PickleObject { objects[index] }

    mutating func make(
        _ kind: PickleObject.Kind, _ items: [PickleValue] = [], detail: Int = 0
    ) throws(WeightFault) -> PickleValue {
        guard objects.count < Self.maximumObjects else {
            throw .exceedsLimit("a pickle of more than \(Self.maximumObjects) objects")
        }
        try charge(items.count)
        objects.append(PickleObject(kind: kind, detail: Int32(detail), items: items))
        return .object(objects.count - 1)
    }

    mutating func make(_ storage: PickleStorage) throws(WeightFault) -> PickleValue {
        let value = try make(.storage, detail: storages.count)
        storages.append(storage)
        return value
    }

    mutating func make(_ tensor: PickleTensor) throws(WeightFault) -> PickleValue {
        let value = try make(.tensor, detail: tensors.count)
        tensors.append(tensor)
        return value
    }

    /// A tensor that cannot be read, and why.
    mutating func makeUnread(_ reason: String) throws(WeightFault) -> PickleValue {
        let value = try make(.unreadTensor, detail: reasons.count)
        reasons.append(reason)
        return value
    }

    mutating func makeInstance(_ callable: PickleValue, _ arguments: PickleValue) throws(WeightFault) -> PickleValue {
        let value = try make(.instance, detail: instances.count)
        instances.append(PickleInstance(callable: callable, arguments: arguments))
        return value
    }

    mutating func makeBytes(_ bytes: PickleBytes) throws(WeightFault) -> PickleValue {
        guard byteStrings.count < Self.maximumObjects else {
            throw .exceedsLimit("a pickle of more than \(Self.maximumObjects) byte strings")
        }
        byteStrings.append(bytes)
        return .bytes(byteStrings.count - 1)
    }

    /// Short bytes that do not lie in the pickle as they are.
    mutating func makeBytes(decoded: [UInt8]) throws(WeightFault) -> PickleValue {
        guard decoded.count <= decodedLeft else { throw .exceedsLimit("a pickle that encodes text over and over") }
        decodedLeft -= decoded.count
        return try makeBytes(decodedLine: decoded)
    }

    /// A line of protocol 0, decoded. Each is decoded once, so that together they are no longer than the pickle.
    mutating func makeBytes(decodedLine decoded: [UInt8]) throws(WeightFault) -> PickleValue {
        decodedBytes.append(decoded)
        return try makeBytes(PickleBytes(range: 0..<decoded.count, encoding: .decoded(decodedBytes.count - 1)))
    }

    /// The value of a global's name; equal names are one value.
    mutating func makeGlobal(_ name: String) throws(WeightFault) -> PickleValue {
        if let index = globalIndex[name] { return .global(index) }
        guard globals.count < Self.maximumGlobals else {
            throw .exceedsLimit("a pickle that names more than \(Self.maximumGlobals) globals")
        }
        globals.append((name, PickleGlobal(named: name)))
        globalIndex[name] = globals.count - 1
        return .global(globals.count - 1)
    }

    /// Appends to whatever has elements.
    mutating func append(_ items: [PickleValue], to index: Int) throws(WeightFault) {
        try charge(items.count)
        objects[index].items.append(contentsOf: items)
    }

    /// Adds keys and values, in turn, to a dict or to an object of an unknown class.
    mutating func setPairs(_ items: [PickleValue], of index: Int) throws(WeightFault) {
        try charge(items.count)
        if objects[index].kind == .instance {
            instances[Int(objects[index].detail)].pairs.append(contentsOf: items)
        } else {
            objects[index].items.append(contentsOf: items)
        }
    }

    mutating func replaceItems(of index: Int, by items: [PickleValue]) throws(WeightFault) {
        try charge(items.count)
        objects[index].items = items
    }

    mutating func setState(_ state: PickleValue, of index: Int) {
        guard objects[index].kind == .instance else { return }
        instances[Int(objects[index].detail)].state = state
    }
}

// MARK: - Looking at values

extension PickleHeap {
    func bytes(_ index: Int) -> PickleBytes { byteStrings[index] }
    func decoded(_ index: Int) -> [UInt8] { decodedBytes[index] }

    /// `module.name`, as the pickle has it.
    func globalName(_ index: Int) -> String { globals[index].name }

    /// The meaning of a global; nil for everything else, and for globals without one.
    func known(_ value: PickleValue) -> PickleGlobal? {
        guard case .global(let index) = value else { return nil }
        return globals[index].known
    }

    func kind(_ value: PickleValue) -> PickleObject.Kind? {
        guard case .object(let index) = value else { return nil }
        return objects[index].kind
    }

    /// The items where `value` is a tuple, or nil.
    func tuple(_ value: PickleValue) -> [PickleValue]? { items(value, [.tuple]) }

    /// The items where `value` is a list or a tuple, or nil.
    package func sequence(_ value: PickleValue) -> [PickleValue]? { items(value, [.tuple, .list]) }

    /// Keys and values in turn where `value` is a dict, or nil.
    package func dictionary(_ value: PickleValue) -> [PickleValue]? { items(value, [.dict]) }

    private func items(_ value: PickleValue, _ kinds: [PickleObject.Kind]) -> [PickleValue]? {
        guard case .object(let index) = value, kinds.contains(objects[index].kind) else { return nil }
        return objects[index].items
    }

    func storage(_ value: PickleValue) -> PickleStorage? {
        guard case .object(let index) = value, objects[index].kind == .storage else { return nil }
        return storages[Int(objects[index].detail)]
    }

    func instance(_ value: PickleValue) -> PickleInstance? {
        guard case .object(let index) = value, objects[index].kind == .instance else { return nil }
        return instances[Int(objects[index].detail)]
    }

    /// The tensor, also through a `Parameter`.
    func tensor(_ value: PickleValue) -> PickleTensor? {
        guard case .object(let index) = value else { return nil }
        switch objects[index].kind {
        case .tensor: return tensors[Int(objects[index].detail)]
        case .parameter:
            guard let item = objects[index].items.first, case .object(let inner) = item,
                objects[inner].kind == .tensor
            else { return nil }
            return tensors[Int(objects[inner].detail)]
        default: return nil
        }
    }

    /// Why a tensor cannot be read; nil for all that is no such tensor.
    func unreadReason(_ value: PickleValue) -> String? {
        guard case .object(let index) = value else { return nil }
        switch objects[index].kind {
        case .unreadTensor: return reasons[Int(objects[index].detail)]
        case .parameter:
            guard let item = objects[index].items.first else { return "a Parameter without a tensor" }
            guard case .object(let inner) = item, objects[inner].kind == .unreadTensor else { return nil }
            return reasons[Int(objects[inner].detail)]
        default: return nil
        }
    }

    /// The integers of a short tuple such as a shape, of any sign; nil where it is anything else.
    func integers(_ value: PickleValue) -> [Int]? {
        guard let items = sequence(value), items.count <= 64 else { return nil }
        var result: [Int] = []
        for item in items {
            guard case .integer(let size) = item else { return nil }
            result.append(size)
        }
        return result
    }

    /// What `value` is, for errors and reports.
    package func noun(_ value: PickleValue) -> String {
        switch value {
        case .none: "None"
        case .bool: "a bool"
        case .integer, .long: "an integer"
        case .float: "a float"
        case .string: "a string"
        case .bytes: "bytes"
        case .global(let index): globalName(index)
        case .object(let index): noun(of: objects[index])
        }
    }

    private func noun(of object: PickleObject) -> String {
        switch object.kind {
        case .list: "a list"
        case .tuple: "a tuple"
        case .dict: "a dict"
        case .set: "a set"
        case .storage: "a storage"
        case .tensor, .unreadTensor: "a tensor"
        case .parameter: "a Parameter"
        case .array: "an array"
        case .arrayType: "a dtype"
        case .instance: noun(ofInstance: instances[Int(object.detail)])
        }
    }

    /// `numpy.float64` of a scalar that NumPy made, `argparse.Namespace` of an object.
    private func noun(ofInstance instance: PickleInstance) -> String {
        var callable = instance.callable
        // copyreg's helpers take the class as an argument.
        if let known = known(callable), known == .reconstructor || known == .newObject,
            let items = tuple(instance.arguments),
            let type = items.first
        {
            callable = type
        }
        switch callable {
        case .global(let index): return globalName(index)
        case .object, .bytes, .none, .bool, .integer, .long, .float, .string: return "an object"
        }
    }
}
