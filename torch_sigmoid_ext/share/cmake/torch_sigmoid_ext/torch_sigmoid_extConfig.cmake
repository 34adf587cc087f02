# find_package(torch_sigmoid_ext) defines
#
#   torch_sigmoid_ext::torch_sigmoid_ext   to be linked: the operator library, and libtorch with it
#   torch_sigmoid_ext::library             its file alone, for $<TARGET_FILE:...> and dlopen
#
# A program that links the first has the operators from its start: there is nothing to include and
# nothing to call. CMAKE_PREFIX_PATH must hold what torch_sigmoid_ext.cmake_prefix_path() returns
# in Python, and torch.utils.cmake_prefix_path.

get_filename_component(_tse_package "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(_tse_library "${_tse_package}/libtorch_sigmoid_ext.so")
set(_tse_refusal "")

if(NOT EXISTS "${_tse_library}")
  set(_tse_refusal
      "expected the operator library ${_tse_library}, which is not there: this is the source \
folder, not yet built. Run `pip install -e .` in the repository.")
else()
  if(NOT TARGET torch)
    # pip puts torch beside this package. What the user names, in CMAKE_PREFIX_PATH, comes before.
    find_package(Torch QUIET CONFIG HINTS "${_tse_package}/../torch/share/cmake")
  endif()
  file(STRINGS "${_tse_library}" _tse_torch REGEX "torch_sigmoid_ext: built for torch ")
  string(REGEX REPLACE ".*built for torch ([0-9]+[.][0-9]+).*" "\\1" _tse_torch "${_tse_torch}")
  if(NOT Torch_FOUND AND NOT TARGET torch)
    set(_tse_refusal
        "it needs torch's own CMake package, Torch ${_tse_torch}. Add to CMAKE_PREFIX_PATH what \
`python -c 'import torch; print(torch.utils.cmake_prefix_path)'` prints.")
  elseif(Torch_VERSION AND NOT "${Torch_VERSION}." MATCHES "^${_tse_torch}[.]")
    set(_tse_refusal
        "${_tse_library} was built for torch ${_tse_torch}, and the Torch in ${Torch_DIR} is \
${Torch_VERSION}; a build fits one torch version only. Build it again with that torch: \
`pip install --force-reinstall --no-deps .` in the repository.")
  endif()
endif()

if(_tse_refusal)
  set(torch_sigmoid_ext_FOUND FALSE)
  set(torch_sigmoid_ext_NOT_FOUND_MESSAGE "torch_sigmoid_ext: ${_tse_refusal}")
elseif(NOT TARGET torch_sigmoid_ext::torch_sigmoid_ext)
  add_library(torch_sigmoid_ext::library SHARED IMPORTED)
  set_target_properties(torch_sigmoid_ext::library PROPERTIES
    IMPORTED_LOCATION "${_tse_library}"
    IMPORTED_NO_SONAME TRUE)

  # No symbol of the library is used, so a linker that drops what is not needed would drop it.
  add_library(torch_sigmoid_ext::torch_sigmoid_ext INTERFACE IMPORTED)
  set_target_properties(torch_sigmoid_ext::torch_sigmoid_ext PROPERTIES
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_LINK_LIBRARIES "-Wl,--push-state,--no-as-needed;torch_sigmoid_ext::library;\
-Wl,--pop-state;${TORCH_LIBRARIES}")
endif()

unset(_tse_package)
unset(_tse_library)
unset(_tse_torch)
unset(_tse_refusal)
