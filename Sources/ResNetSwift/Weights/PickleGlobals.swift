// The callables and types of pickles that mean something here. None is ever run: each has a meaning here, and all others
// become inert placeholders.

/// A name in a pickle that has a meaning here.
package enum PickleGlobal: String, Sendable, Hashable, CaseIterable {
    // Python.
    case dict = "builtins.dict"
    case orderedDict = "collections.OrderedDict"
    case set = "builtins.set"
    case frozenSet = "builtins.frozenset"
    case list = "builtins.list"
    case encode = "_codecs.encode"
    case reconstructor = "copyreg._reconstructor"
    case newObject = "copyreg.__newobj__"
    // PyTorch's tensors.
    case rebuildTensor = "torch._utils._rebuild_tensor"
    case rebuildTensorV2 = "torch._utils._rebuild_tensor_v2"
    case rebuildTensorV3 = "torch._utils._rebuild_tensor_v3"
    case rebuildParameter = "torch._utils._rebuild_parameter"
    case rebuildParameterWithState = "torch._utils._rebuild_parameter_with_state"
    case rebuildFromType = "torch._tensor._rebuild_from_type_v2"
    case rebuildFromOldType = "torch.tensor._rebuild_from_type"
    case rebuildDeviceTensor = "torch._utils._rebuild_device_tensor_from_cpu_tensor"
    case parameter = "torch.nn.parameter.Parameter"
    case buffer = "torch.nn.parameter.Buffer"
    case size = "torch.Size"
    // Its storages.
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
    case untypedStorage = "torch.storage.UntypedStorage"
    // Its element types.
    case float32 = "torch.float32"
    case float16 = "torch.float16"
    case bfloat16 = "torch.bfloat16"
    case float64 = "torch.float64"
    case int64 = "torch.int64"
    case int32 = "torch.int32"
    case int16 = "torch.int16"
    case int8 = "torch.int8"
    case uint8 = "torch.uint8"
    case uint16 = "torch.uint16"
    case uint32 = "torch.uint32"
    case uint64 = "torch.uint64"
    case bool = "torch.bool"
    // NumPy's arrays.
    case reconstructArray = "numpy.core.multiarray._reconstruct"
    case arrayFromBuffer = "numpy.core.numeric._frombuffer"
    case array = "numpy.ndarray"
    case arrayType = "numpy.dtype"

    /// By `module.name`, in the spelling of any version of Python, NumPy and PyTorch.
    init?(named name: String) {
        var name = name
        for (old, new) in Self.renamedModules where name.hasPrefix(old) { name = new + name.dropFirst(old.count) }
        self.init(rawValue: Self.synonyms[name] ?? name)
    }

    /// Python 2's names, and NumPy 2's.
    private static let renamedModules = [
        ("__builtin__.", "builtins."), ("copy_reg.", "copyreg."), ("numpy._core.", "numpy.core."),
    ]
    private static let synonyms = [
        "torch.UntypedStorage": "torch.storage.UntypedStorage",
        "torch.storage._UntypedStorage": "torch.storage.UntypedStorage",
        "torch.float": "torch.float32", "torch.half": "torch.float16", "torch.double": "torch.float64",
        "torch.nn.Parameter": "torch.nn.parameter.Parameter",
    ]

    /// The element type of a storage's class, or of PyTorch's dtypes; nil for everything else.
    var elementType: ElementType? {
        switch self {
        case .floatStorage, .float32: .float32
        case .halfStorage, .float16: .float16
        case .bfloat16Storage, .bfloat16: .bfloat16
        case .doubleStorage, .float64: .float64
        case .longStorage, .int64: .int64
        case .intStorage, .int32: .int32
        case .shortStorage, .int16: .int16
        case .charStorage, .int8: .int8
        case .byteStorage, .uint8: .uint8
        case .boolStorage, .bool: .bool
        case .uint16: .uint16
        case .uint32: .uint32
        case .uint64: .uint64
        default: nil
        }
    }

    var isStorage: Bool { rawValue.hasSuffix("Storage") && self != .untypedStorage }
}
