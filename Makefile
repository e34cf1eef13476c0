# make demo and make test need Swift 6.2 or newer; what else they need, `make deps` installs first.

PREFIX ?= /usr/local
SECONDS ?= 300
# Under qemu the kernels' long tables are checked at each EVERY-th row; where that leaves an algorithm out, the tests fail.
EVERY ?= 7
PACKAGES = libopenblas-dev libomp-dev libturbojpeg0-dev libpng-dev libwebp-dev libgif-dev libtiff-dev zlib1g-dev
CORE_PACKAGES = libopenblas-dev libomp-dev cmake make gcc g++ pkg-config
# The Swift runtime goes into the program: it starts sooner and runs where no Swift is installed.
RELEASE = -c release --static-swift-stdlib
SWIFT_FILES = $$(git ls-files '*.swift')
# The kernels' own tables go through every instruction set by themselves (make test); these are whole networks.
LESSER_ISAS = $(if $(shell grep -m 1 -o avx512f /proc/cpuinfo),avx2) portable
NETWORK_TESTS = ParityTests|InferencePlanTests|PackedWeightsTests|GradientParityTests|TrainingPlanTests
C_FILES = $$(git ls-files 'Sources/*.c' 'Sources/*.h' 'Sources/*.inc' 'bench/*.c' 'bench/*.h' 'Tests/*.c' 'Tests/*.h' \
	'Examples/*.c' 'Examples/*.h' 'Examples/*.cpp' 'fuzz/*.c' 'fuzz/*.h')

MPICC = mpicc -O2 -Wall -Wextra -Werror -shared -fPIC Sources/CMPI/resnet_mpi.c

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Builds, trains on handwritten digits, reads 20 of them, times a ResNet-50. Works offline once built.
	@demo/run.sh .build/release/resnet

test: deps deps-core ## Builds and runs all tests.
	$(MAKE) test-core
	swift build --build-tests
	scripts/run_tests.sh

test-core: deps-core ## The C core alone: every kernel of every instruction set of this machine against the reference.
	cmake -S . -B .build/core-tests -DCMAKE_C_COMPILER=gcc -DCK_BUILD_TESTS=ON -DCK_WARNINGS_ARE_ERRORS=ON
	cmake --build .build/core-tests -j
	ctest --test-dir .build/core-tests --verbose -j $$(nproc) -R 'check_(core|reference)'

# Leaks aside: those that are found are of the OpenMP library.
test-asan: deps-core ## The C core's tests under AddressSanitizer and UBSan; the long tables in part.
	cmake -S . -B .build/asan -DCMAKE_C_COMPILER=gcc -DCK_BUILD_TESTS=ON -DCK_CHECK_OPTIONS="--every;7" -DCK_OPTIMIZATION=-O1 \
		-DCMAKE_C_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
	cmake --build .build/asan -j
	ASAN_OPTIONS=detect_leaks=0 ctest --test-dir .build/asan --verbose -j $$(nproc) -R 'check_(core|reference)'

test-isa: deps ## Whole networks, forward and backward, on the instruction sets below this machine's best.
	swift build --build-tests
	for isa in $(LESSER_ISAS); do \
		CK_ISA=$$isa scripts/run_tests.sh "^ResNetSwiftTests\.($(NETWORK_TESTS))/" || exit 1; \
	done

examples: deps ## Builds the programs of Examples/ and runs each on small data that it draws (a few minutes).
	swift build -c release --package-path Examples/Swift --scratch-path .build/examples
	Examples/Swift/run.sh .build/examples/release

build: deps ## Builds the release program .build/release/resnet.
	swift build $(RELEASE) --product resnet

test-embed: deps-core ## Installs the C core in a corner and uses it from C, C++, Python, pkg-config and CMake.
	scripts/test_embed.sh

test-libresnet: deps ## Builds libresnet.so and uses it from C, C++ and Python: forks, threads, shared weights.
	scripts/test_libresnet.sh

test-dependency: deps ## Builds Examples/ as a stranger's package that depends on this one by version, and runs them.
	scripts/test_dependency.sh

mpi: build deps-mpi ## Builds libresnet_mpi.so beside the program: `mpirun -n 2 resnet train ...` (Open MPI).
	$(MPICC) -o .build/release/libresnet_mpi.so

test-mpi: deps deps-mpi ## Trains by several processes on this machine: the same bits as by one, also after a crash.
	swift build --product resnet
	$(MPICC) -o .build/debug/libresnet_mpi.so
	scripts/test_mpi.sh .build/debug/resnet

test-tsan: deps-core ## Eight threads on one plan and more, under ThreadSanitizer (gcc's; the serial build of the C core).
	cmake -S . -B .build/tsan -DCMAKE_C_COMPILER=gcc -DCK_BUILD_TESTS=ON -DCK_OPENMP=OFF -DCK_OPENBLAS=OFF -DCK_OPTIMIZATION=-O1 \
		-DCMAKE_C_FLAGS="-fsanitize=thread -g"
	cmake --build .build/tsan -j --target share_plan check_team
	TSAN_OPTIONS=halt_on_error=1 .build/tsan/Tests/CoreTests/share_plan
	TSAN_OPTIONS=halt_on_error=1 .build/tsan/Tests/CoreTests/check_team

fuzz: deps ## Fuzzes every reader under AddressSanitizer (SECONDS=300 a target); a short run is fuzz/run.sh 10.
	fuzz/run.sh $(SECONDS)

soak: deps ## 10,000 predictions over changing sizes, threads and inputs; memory must stay flat (NumPy needed).
	scripts/build_libresnet.sh .build/prefix
	LIBRESNET=.build/prefix/lib/libresnet.so.0 python3 scripts/soak.py

test-neon: deps-neon ## Builds the C core for aarch64 and checks every kernel under qemu.
	cmake -S . -B .build/neon -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/cmake/aarch64-linux-gnu.cmake \
		-DCK_OPENBLAS=OFF -DCK_BUILD_TESTS=ON -DCK_WARNINGS_ARE_ERRORS=ON -DCK_CHECK_OPTIONS="--every;$(EVERY)"
	cmake --build .build/neon -j
	CK_ISA=neon ctest --test-dir .build/neon --verbose -j $$(nproc)
	QEMU_CPU=cortex-a72 CK_ISA=neon qemu-aarch64 -L /usr/aarch64-linux-gnu \
		.build/neon/Tests/CoreTests/check_core --every $(EVERY) int8 # without dot products of bytes

bench: deps ## Compares with PyTorch, ONNX Runtime, OpenVINO and others; installs them for itself (see bench/README.md).
	python3 bench/compare.py

docs: deps ## Builds the documentation of the Swift library with DocC: .build/docs. A link that leads nowhere is an error.
	scripts/build_docs.sh

format: ## Formats all Swift and C sources in place.
	swift format -i --configuration .swift-format Package.swift $(SWIFT_FILES)
	clang-format -i $(C_FILES)

install: deps-core ## Installs the C core (no Swift needed) to PREFIX: libraries, headers, pkg-config, CMake (PREFIX=/usr/local).
	cmake -S . -B .build/core -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build .build/core -j
	cmake --install .build/core

libresnet: deps ## Builds libresnet.so (whole networks for C and Python, Swift inside) and installs it to PREFIX.
	scripts/build_libresnet.sh $(DESTDIR)$(PREFIX)

wheel: deps deps-core ## Builds the Python wheel, native library and program inside: .build/wheel (pip install it; NumPy is all it needs).
	rm -rf .build/wheel && mkdir -p .build/wheel
	cd python && python3 -c "import build_backend; print('.build/wheel/' + build_backend.build_wheel('../.build/wheel'))"

test-python: wheel ## Installs the wheel in a corner and tests it (PYTHON=python3 needs NumPy; torch and scikit-learn if there).
	scripts/test_python.sh

test-report: deps ## Opens pages of report.html in headless Chromium, if that is there (PICTURE=docs/report.png keeps a picture).
	swift build --product resnet
	scripts/test_report.sh .build/debug/resnet $(PICTURE)

deb: deps deps-core ## Builds a Debian package of the program and libresnet: .build/deb (apt-get install it).
	scripts/build_deb.sh .build/deb

static: deps deps-core ## Builds the program with the C library inside, for any Linux of this architecture: .build/static/resnet.
	scripts/build_standalone.sh --static .build/static

install-tool: build ## Installs the program resnet to PREFIX/bin, with its manual page and shell completions.
	install -D -s -m 755 .build/release/resnet $(DESTDIR)$(PREFIX)/bin/resnet
	scripts/install_manual.sh .build/release/resnet $(DESTDIR)$(PREFIX)/share

deps: ## Installs the C libraries that are missing (apt); does nothing when all are there.
	@scripts/install_deps.sh $(PACKAGES)

deps-core:
	@scripts/install_deps.sh --no-swift $(CORE_PACKAGES)

deps-mpi:
	@scripts/install_deps.sh --no-swift openmpi-bin libopenmpi-dev

deps-neon:
	@scripts/install_deps.sh --no-swift cmake make gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

clean: ## Removes what was built.
	rm -rf .build

install-mpi: mpi ## Installs libresnet_mpi.so to PREFIX/lib, where the installed program finds it.
	install -D -s -m 644 .build/release/libresnet_mpi.so $(DESTDIR)$(PREFIX)/lib/libresnet_mpi.so

.PHONY: help demo test test-core test-isa test-asan test-embed test-neon test-libresnet test-dependency test-tsan mpi test-mpi fuzz soak examples build bench docs format install libresnet wheel test-python test-report deb static install-tool install-mpi deps deps-core deps-neon deps-mpi clean
