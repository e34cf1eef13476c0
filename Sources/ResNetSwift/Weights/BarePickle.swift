// A pickle that torch.save did not write: `pickle.dump({"conv1.weight": array, ...}, file)`. NumPy's arrays carry their bytes
// themselves and can be read; PyTorch's tensors are written by a call, which nobody makes here.

import ResNetSupport

enum BarePickle {
    /// A protocol from 2 on says so; a dict of protocol 1 or 0 begins like this.
    static func begins(_ file: UnsafeRawBufferPointer) -> Bool {
        if file.count > 1, file[0] == 0x80, file[1] <= 5 { return true }
        return file.has("}q\0") || file.has("(dp0\n") || file.has("ccollections\nOrderedDict\n")
    }

    static func read(_ file: UnsafeRawBufferPointer) throws(WeightFault) -> ContainerContents {
        var machine = PickleMachine(ByteCursor(file, part: "pickle"))
        let root = try machine.load()
        try machine.finish()
        let search = TensorSearch(
            machine.heap, bigEndian: false, pickle: PickledSource(owner: nil, offset: 0), bytes: file
        ) { (storage) throws(WeightFault) in
            throw .malformed(part: "pickle", problem: "storage \(storage.key) is not in it")
        }
        return try search.contents(of: root)
    }
}
