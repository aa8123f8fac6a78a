# find_package(cvrun): the plugin headers (cvr::plugin), the libraries for applications (cvr::cvr, and cvr::session for what
# trains and predicts by recipes) and cvr_add_plugin().
# Every path is taken from where this file lies, so an installed tree may be moved.
get_filename_component(CVR_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET cvr::plugin)
  add_library(cvr::plugin INTERFACE IMPORTED)
  set_target_properties(cvr::plugin PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${CVR_PREFIX}/include")
  add_library(cvr::cvr SHARED IMPORTED)
  set_target_properties(cvr::cvr PROPERTIES IMPORTED_LOCATION "${CVR_PREFIX}/lib/libcvr.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${CVR_PREFIX}/include")
  add_library(cvr::session SHARED IMPORTED)
  set_target_properties(cvr::session PROPERTIES IMPORTED_LOCATION "${CVR_PREFIX}/lib/libcvr-session.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${CVR_PREFIX}/include" INTERFACE_LINK_LIBRARIES cvr::cvr)
  add_executable(cvr::manifest IMPORTED)
  set_target_properties(cvr::manifest PROPERTIES IMPORTED_LOCATION "${CVR_PREFIX}/bin/cvr-manifest")
endif()
include("${CMAKE_CURRENT_LIST_DIR}/CvrPlugin.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/CvrDevice.cmake")
