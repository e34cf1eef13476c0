# make demo and make test need Swift 6.2 or newer; what else they need, `make deps` installs first.

PREFIX ?= /usr/local
PACKAGES = libopenblas-dev libomp-dev libturbojpeg0-dev libpng-dev zlib1g-dev
# The Swift runtime goes into the program: it starts sooner and runs where no Swift is installed.
RELEASE = -c release --static-swift-stdlib
SWIFT_FILES = $$(git ls-files '*.swift')
C_FILES = $$(git ls-files 'Sources/*.c' 'Sources/*.h' 'Sources/*.inc' 'bench/*.c' 'bench/*.h')

.DEFAULT_GOAL := help

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Builds, trains on handwritten digits, reads 20 of them, times a ResNet-50. Works offline once built.
	@demo/run.sh .build/release/resnet

test: deps ## Builds and runs all tests.
	swift build --build-tests
	swift test --skip-build --disable-swift-testing

test-asan: deps ## Runs the kernels' tests under AddressSanitizer and UBSan (leaks aside: XCTest and libomp have some).
	swift build --build-tests --sanitize=address -Xcc -fsanitize=undefined --scratch-path .build/asan
	ASAN_OPTIONS=detect_leaks=0 swift test --skip-build --disable-swift-testing --sanitize=address \
		--scratch-path .build/asan --filter CKernelsTests

build: deps ## Builds the release program .build/release/resnet.
	swift build $(RELEASE) --product resnet

bench: deps ## Compares with PyTorch, ONNX Runtime, OpenVINO and others; installs them for itself (see bench/README.md).
	python3 bench/compare.py

format: ## Formats all Swift and C sources in place.
	swift format -i --configuration .swift-format Package.swift $(SWIFT_FILES)
	clang-format -i $(C_FILES)

install: build ## Installs the program to PREFIX/bin (PREFIX=/usr/local).
	install -D -m 755 .build/release/resnet $(DESTDIR)$(PREFIX)/bin/resnet

deps: ## Installs the C libraries that are missing (apt); does nothing when all are there.
	@scripts/install_deps.sh $(PACKAGES)

clean: ## Removes what was built.
	rm -rf .build

.PHONY: help demo test test-asan build bench format install deps clean
