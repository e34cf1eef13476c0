// A pickle that torch.save did not write: `pickle.dump({"conv1.weight": array, ...}, file)`. NumPy's arrays carry their bytes
// themselves and can be read; PyTorch's tensors are written by a call, which nobody makes here.

enum BarePickle {
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
