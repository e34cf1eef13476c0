// What a pickle can build here. Objects live in one arena and refer to each other by index: a hostile pickle can then
// neither make cycles that never die nor chains whose destruction overflows the stack.

import ResNetSupport

/// An immediate value, or the index of an object in `PickleHeap`.
package enum PickleValue: Sendable, Hashable {
    case none
    case bool(Bool)
    case integer(Int)
    /// An integer beyond 64 bits, little-endian two's complement.
    case long([UInt8])
    case float(Double)
    case string(String)
    /// Where they are in the pickle's bytes.
    case bytes(Range<Int>)
    case global(PickleGlobal)
    case object(Int)
}

/// The closed list of callables and types that a weight file may name. None is ever run: each has a meaning here.
package enum PickleGlobal: String, Sendable, Hashable, CaseIterable {
    case orderedDict = "collections.OrderedDict"
    case rebuildTensor = "torch._utils._rebuild_tensor"
    case rebuildTensorV2 = "torch._utils._rebuild_tensor_v2"
    case rebuildParameter = "torch._utils._rebuild_parameter"
    case rebuildParameterWithState = "torch._utils._rebuild_parameter_with_state"
    case parameter = "torch.nn.parameter.Parameter"
    case floatStorage = "torch.FloatStorage"
    case halfStorage = "torch.HalfStorage"
    case bfloat16Storage = "torch.BFloat16Storage"
    case doubleStorage = "torch.DoubleStorage"
    case longStorage = "torch.LongStorage"
    case intStorage = "torch.IntStorage"
    case shortStorage = "torch.ShortStorage"
    case charStorage = "torch.CharStorage"
    case byteStorage = "torch.ByteStorage"
    case boolStorage = "torch.BoolStorage"
    case floatTensor = "torch.FloatTensor"
    case size = "torch.Size"
    case reconstructArray = "numpy.core.multiarray._reconstruct"
    case array = "numpy.ndarray"
    case arrayType = "numpy.dtype"

    /// Belongs to pickles of arrays, of which no weight file is made.
    var isOfArrays: Bool { self == .reconstructArray || self == .array || self == .arrayType }

    /// The element type of a storage class; nil for everything else.
    var elementType: ElementType? {
        switch self {
        case .floatStorage: .float32
        case .halfStorage: .float16
        case .bfloat16Storage: .bfloat16
        case .doubleStorage: .float64
        case .longStorage: .int64
        case .intStorage: .int32
        case .shortStorage: .int16
        case .charStorage: .int8
        case .byteStorage: .uint8
        case .boolStorage: .bool
        default: nil
        }
    }
}

/// A storage that a persistent id named: bytes of the file, or a part of them.
struct PickleStorage: Sendable, Hashable {
    let type: ElementType
    /// Number of elements.
    let count: Int
    /// Which storage of the container, and the first element within it (a view of an older format).
    let key: String
    let start: Int
}

struct PickleTensor: Sendable, Hashable {
    let storage: PickleStorage
    let geometry: TensorGeometry
}

struct PickleObject: Sendable {
    enum Kind: Sendable, Hashable {
        case list, tuple, dict, orderedDict, set
        case storage(PickleStorage)
        case tensor(PickleTensor)
        /// A `Parameter` made by class and state; its one item is the tensor, once there.
        case parameter
        /// A NumPy array; its items are version, shape, dtype, whether in Fortran's order, and bytes, once there.
        case array
        /// Its first item is the name, `u1` for bytes.
        case arrayType
    }

    let kind: Kind
    /// Elements; for dicts keys and values in turn.
    var items: [PickleValue]

    /// For errors.
    package var noun: String {
        switch kind {
        case .list: "a list"
        case .tuple: "a tuple"
        case .dict: "a dict"
        case .orderedDict: "an OrderedDict"
        case .set: "a set"
        case .storage: "a storage"
        case .tensor: "a tensor"
        case .parameter: "a Parameter"
        case .array: "an array"
        case .arrayType: "a dtype"
        }
    }
}

/// All objects of one or more pickles.
package struct PickleHeap: Sendable {
    private(set) var objects: [PickleObject] = []

    /// An honest ResNet-152 with its optimizer state makes about 10,000.
    static let maximumObjects = 150_000

    /// Values that may still be copied from object to object: a short program could ask for the same long list again
    /// and again.
    private var copiesLeft = 400_000

    mutating func charge(_ count: Int) throws(WeightFault) {
        guard count <= copiesLeft else { throw .exceedsLimit("a pickle that copies the same values over and over") }
        copiesLeft -= count
    }

    subscript(index: Int) -> PickleObject { objects[index] }

    mutating func make(_ kind: PickleObject.Kind, _ items: [PickleValue] = []) throws(WeightFault) -> PickleValue {
        guard objects.count < Self.maximumObjects else {
            throw .exceedsLimit("a pickle of more than \(Self.maximumObjects) objects")
        }
        objects.append(PickleObject(kind: kind, items: items))
        return .object(objects.count - 1)
    }

    mutating func append(_ items: [PickleValue], to index: Int) {
        objects[index].items.append(contentsOf: items)
    }

    mutating func replaceItems(of index: Int, by items: [PickleValue]) { objects[index].items = items }

    /// The items where `value` is a tuple, or nil.
    func tuple(_ value: PickleValue) -> [PickleValue]? {
        guard case .object(let index) = value, objects[index].kind == .tuple else { return nil }
        return objects[index].items
    }

    /// The items where `value` is a list or a tuple, or nil.
    package func sequence(_ value: PickleValue) -> [PickleValue]? {
        guard case .object(let index) = value else { return nil }
        return objects[index].kind == .tuple || objects[index].kind == .list ? objects[index].items : nil
    }

    /// Keys and values in turn where `value` is a dict of either kind, or nil.
    package func dictionary(_ value: PickleValue) -> [PickleValue]? {
        guard case .object(let index) = value else { return nil }
        return objects[index].kind == .dict || objects[index].kind == .orderedDict ? objects[index].items : nil
    }

    /// The tensor, also through a `Parameter`.
    func tensor(_ value: PickleValue) -> PickleTensor? {
        guard case .object(let index) = value else { return nil }
        switch objects[index].kind {
        case .tensor(let tensor): return tensor
        case .parameter:
            guard let item = objects[index].items.first, case .object(let inner) = item,
                case .tensor(let tensor) = objects[inner].kind
            else { return nil }
            return tensor
        default: return nil
        }
    }

    /// Shape and place of an array of bytes in C's order, or nil.
    package func byteArray(_ value: PickleValue) -> (shape: [Int], bytes: Range<Int>)? {
        guard case .object(let index) = value, objects[index].kind == .array, objects[index].items.count == 5,
            let shape = integers(objects[index].items[1]), case .object(let type) = objects[index].items[2],
            objects[type].kind == .arrayType, objects[type].items.first == .string("u1"),
            objects[index].items[3] == .bool(false), case .bytes(let bytes) = objects[index].items[4],
            checkedProduct(shape) == bytes.count
        else { return nil }
        return (shape, bytes)
    }

    func storage(_ value: PickleValue) -> PickleStorage? {
        guard case .object(let index) = value, case .storage(let storage) = objects[index].kind else { return nil }
        return storage
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

    /// What `value` is, for errors.
    package func noun(_ value: PickleValue) -> String {
        switch value {
        case .none: "None"
        case .bool: "a bool"
        case .integer, .long: "an integer"
        case .float: "a float"
        case .string: "a string"
        case .bytes: "bytes"
        case .global(let global): global.rawValue
        case .object(let index): objects[index].noun
        }
    }
}
