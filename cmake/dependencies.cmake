# What Retort stands on. The distribution's packages come first (tools/install_dependencies.sh installs them); what is
# missing is fetched as the source archive below, pinned by its hash, and used without its own build files.
include(FetchContent)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)  # extracted files carry the time of extraction, so that a new pin rebuilds
endif()

function(retort_fetch name package url hash)
  message(STATUS "${name} is not installed (Debian and Ubuntu: ${package}); fetching ${url}")
  # A SOURCE_SUBDIR without a CMakeLists.txt: download and unpack, nothing else.
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${hash} SOURCE_SUBDIR unused)
  FetchContent_MakeAvailable(${name})
  FetchContent_GetProperties(${name} SOURCE_DIR source)
  set(${name}_SOURCE_DIR ${source} PARENT_SCOPE)
endfunction()

function(retort_header_library target include_directory)
  string(MAKE_C_IDENTIFIER "${target}" name)
  add_library(retort_${name} INTERFACE)
  add_library(${target} ALIAS retort_${name})
  target_include_directories(retort_${name} SYSTEM INTERFACE ${include_directory})
endfunction()

find_package(Threads REQUIRED)

# zlib reads .gz files.
set(suffixes ${CMAKE_FIND_LIBRARY_SUFFIXES})
if(RETORT_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()
find_package(ZLIB QUIET)
set(CMAKE_FIND_LIBRARY_SUFFIXES ${suffixes})
if(NOT ZLIB_FOUND)
  retort_fetch(zlib zlib1g-dev https://github.com/madler/zlib/releases/download/v1.2.13/zlib-1.2.13.tar.gz
               b3a24de97a8fdbc835b9833169501030b8977031bcb54b3b3ac13740f846ab30)
  enable_language(C)
  file(GLOB sources ${zlib_SOURCE_DIR}/*.c)
  add_library(retort_zlib STATIC ${sources})
  add_library(ZLIB::ZLIB ALIAS retort_zlib)
  target_include_directories(retort_zlib SYSTEM PUBLIC $<BUILD_INTERFACE:${zlib_SOURCE_DIR}>)
  target_compile_definitions(retort_zlib PRIVATE HAVE_UNISTD_H HAVE_STDARG_H)
  set_target_properties(retort_zlib PROPERTIES EXPORT_NAME zlib)
endif()

# Google Highway: SIMD from one source, as headers alone.
find_path(HIGHWAY_INCLUDE_DIR hwy/highway.h)
if(NOT HIGHWAY_INCLUDE_DIR)
  retort_fetch(highway libhwy-dev https://github.com/google/highway/archive/refs/tags/1.0.3.tar.gz
               566fc77315878473d9a6bd815f7de78c73734acdcb745c3dde8579560ac5440e)
  set(HIGHWAY_INCLUDE_DIR ${highway_SOURCE_DIR})
endif()

# Boost.Context switches between the simulator's fibers.
option(RETORT_SIMT "Build the simulator, which runs the CUDA kernels on the CPU" ON)
if(RETORT_SIMT)
  find_path(BOOST_CONTEXT_INCLUDE_DIR boost/context/detail/fcontext.hpp)
  set(suffixes ${CMAKE_FIND_LIBRARY_SUFFIXES})
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a ${CMAKE_FIND_LIBRARY_SUFFIXES})
  find_library(BOOST_CONTEXT_LIBRARY boost_context)
  set(CMAKE_FIND_LIBRARY_SUFFIXES ${suffixes})
  if(NOT BOOST_CONTEXT_INCLUDE_DIR OR NOT BOOST_CONTEXT_LIBRARY)
    message(STATUS "Boost.Context is not installed (Debian and Ubuntu: libboost-context-dev): no --device simt")
    set(RETORT_SIMT OFF)
  endif()
endif()

# nvcc compiles the kernels for the GPU. It is taken from PATH, or from where CUDA's own installer puts it.
option(RETORT_CUDA "Build the CUDA backend" ON)
if(RETORT_CUDA)
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(NVCC nvcc HINTS $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
    if(NVCC)
      set(CMAKE_CUDA_COMPILER ${NVCC})
    endif()
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    get_filename_component(cuda_bin ${CMAKE_CUDA_COMPILER} DIRECTORY)
    find_library(CUDART_LIBRARY cudart_static HINTS ${cuda_bin}/../lib64 ${cuda_bin}/../lib)
  endif()
  if(CMAKE_CUDA_COMPILER AND CUDART_LIBRARY)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # which CMake before 3.26 does not know of CUDA 13
    endif()
  else()
    message(STATUS "No nvcc with CUDA's static runtime: no --device cuda")
    set(RETORT_CUDA OFF)
  endif()
endif()

# The steps from a naive kernel to the one that ships: to learn from and to measure, never needed to train.
option(RETORT_LADDER "Build the ladder of CUDA kernels (docs/ladder) into the program, for bench" ON)
if(NOT RETORT_SIMT AND NOT RETORT_CUDA)
  set(RETORT_LADDER OFF)
endif()

# cuBLAS and cuDNN, to measure against: their headers here, the libraries when the program runs.
set(RETORT_VENDOR OFF)
if(RETORT_CUDA AND NOT RETORT_STATIC)
  set(cuda_include ${cuda_bin}/../include ${cuda_bin}/../targets/x86_64-linux/include)
  find_path(CUDA_INCLUDE_DIR cuda_runtime.h HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${cuda_include})
  find_path(CUBLAS_INCLUDE_DIR cublas_v2.h HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${cuda_include})
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${cuda_include})
  if(CUDNN_INCLUDE_DIR AND EXISTS ${CUDNN_INCLUDE_DIR}/cudnn_version.h)
    file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_major REGEX "define CUDNN_MAJOR +[0-9]+")
    string(REGEX REPLACE "[^0-9]" "" cudnn_major "${cudnn_major}")
  endif()
  if(CUDA_INCLUDE_DIR AND CUBLAS_INCLUDE_DIR AND cudnn_major GREATER_EQUAL 9)
    set(RETORT_VENDOR ON)
  else()
    message(STATUS "The headers of cuBLAS or of cuDNN 9 are not installed: bench has no --backend cublas and cudnn")
  endif()
endif()

# NCCL adds gradients over the GPUs of several processes: its header here, the library when the program runs. The
# simulator runs what the GPU does, so it asks for the headers alone.
set(RETORT_NCCL OFF)
if((RETORT_CUDA OR RETORT_SIMT) AND NOT RETORT_STATIC)
  set(cuda_headers ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} $ENV{CUDA_PATH}/include /usr/local/cuda/include)
  find_path(CUDA_INCLUDE_DIR cuda_runtime.h HINTS ${cuda_headers})
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${cuda_headers})
  if(CUDA_INCLUDE_DIR AND NCCL_INCLUDE_DIR)
    set(RETORT_NCCL ON)
  else()
    message(STATUS "The headers of CUDA or of NCCL are not installed: several processes compute on the CPU alone")
  endif()
endif()

# stb_image decodes pictures.
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
if(NOT STB_INCLUDE_DIR)
  retort_fetch(stb libstb-dev https://github.com/nothings/stb/archive/8b5f1f37b5b75829fc72d38e7b5d4bcbf8a26d55.zip
               93a16ee3e866e719feec459f6f132cce932c5ec751eb38e3ec1975f911353d2e)
  set(STB_INCLUDE_DIR ${stb_SOURCE_DIR})
endif()

# xxHash makes the hashes of files, as a header alone.
find_path(XXHASH_INCLUDE_DIR xxhash.h)
if(NOT XXHASH_INCLUDE_DIR)
  retort_fetch(xxhash libxxhash-dev https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.1.tar.gz
               3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c)
  set(XXHASH_INCLUDE_DIR ${xxhash_SOURCE_DIR})
endif()

# libwebp decodes WebP, where it is there.
option(RETORT_WEBP "Read WebP pictures" ON)
if(RETORT_WEBP)
  find_path(WEBP_INCLUDE_DIR webp/decode.h)
  set(suffixes ${CMAKE_FIND_LIBRARY_SUFFIXES})
  if(RETORT_STATIC)
    set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  endif()
  find_library(WEBP_LIBRARY webp)
  set(CMAKE_FIND_LIBRARY_SUFFIXES ${suffixes})
  if(NOT WEBP_INCLUDE_DIR OR NOT WEBP_LIBRARY)
    message(STATUS "libwebp is not installed (Debian and Ubuntu: libwebp-dev): no WebP pictures")
    set(RETORT_WEBP OFF)
  endif()
endif()

# libhdf5 reads Keras's weights, where it is there. Its static form needs more than it says, so RETORT_STATIC does without.
option(RETORT_HDF5 "Read Keras's files" ON)
if(RETORT_STATIC)
  set(RETORT_HDF5 OFF)
endif()
if(RETORT_HDF5)
  find_path(HDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
  find_library(HDF5_LIBRARY NAMES hdf5_serial hdf5)
  find_library(HDF5_HL_LIBRARY NAMES hdf5_serial_hl hdf5_hl)
  if(NOT HDF5_INCLUDE_DIR OR NOT HDF5_LIBRARY OR NOT HDF5_HL_LIBRARY)
    message(STATUS "libhdf5 is not installed (Debian and Ubuntu: libhdf5-dev): no files of Keras")
    set(RETORT_HDF5 OFF)
  endif()
endif()

# MPI carries what several processes that train together tell each other, where it is there.
option(RETORT_MPI "Train in several processes, under mpirun" ON)
if(RETORT_STATIC)
  set(RETORT_MPI OFF)
endif()
if(RETORT_MPI)
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI QUIET COMPONENTS CXX)
  if(NOT MPI_CXX_FOUND)
    message(STATUS "MPI is not installed (Debian and Ubuntu: libopenmpi-dev): no training in several processes")
    set(RETORT_MPI OFF)
  endif()
endif()

# CLI11 reads flags and config files.
find_package(CLI11 QUIET)
if(NOT CLI11_FOUND)
  retort_fetch(cli11 libcli11-dev https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
               26291377e892ba0e5b4972cdfd4a2ab3bf53af8dac1f4ea8fe0d1376b625c8cb)
  retort_header_library(CLI11::CLI11 ${cli11_SOURCE_DIR}/include)
endif()

# nlohmann-json reads and writes the headers of files, and logs.
find_package(nlohmann_json QUIET)
if(NOT nlohmann_json_FOUND)
  retort_fetch(nlohmann_json nlohmann-json3-dev https://github.com/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
               d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273)
  retort_header_library(nlohmann_json::nlohmann_json ${nlohmann_json_SOURCE_DIR}/single_include)
endif()

# doctest runs the tests.
if(RETORT_BUILD_TESTS)
  find_package(doctest QUIET)
  if(NOT doctest_FOUND)
    retort_fetch(doctest doctest-dev https://github.com/doctest/doctest/archive/refs/tags/v2.4.9.tar.gz
                 19b2df757f2f3703a5e63cee553d85596875f06d91a3333acd80a969ef210856)
    retort_header_library(doctest::doctest ${doctest_SOURCE_DIR})
  endif()
endif()
