// One import for all of the library. The rooms are modules of their own so that an import against the arrows that
// DESIGN.md draws does not compile; whoever uses the library sees one.

@_exported import ResNetData
@_exported import ResNetExecution
@_exported import ResNetGraph
@_exported import ResNetModels
@_exported import ResNetONNX
@_exported import ResNetSupport
@_exported import ResNetTraining
@_exported import ResNetWeights
