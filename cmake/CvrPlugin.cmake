# cvr_add_plugin(NAME source... [LIBS library...] [OPTIONS compile-option...])
#
# Builds lib/cvrun/NAME.so from the sources and lists it in lib/cvrun/plugins.ini. What the plugin provides is read from the
# plugin itself by `cvr-manifest`, so that there is nothing to keep in step. Works inside the tree and, from an installed
# package (find_package(cvrun)), outside it: there the list is written when the top folder's CMakeLists.txt has been read.
#
# CVR_PLUGINS, a list of names, leaves all others of the tree out: they are neither built by default, nor listed, nor installed.
# CVR_LEFT_OUT leaves out those that it names.
set(CVR_PLUGIN_MAP ${CMAKE_CURRENT_LIST_DIR}/plugin.map)

function(cvr_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 P "" "" "LIBS;OPTIONS")
  add_library(plugin_${name} MODULE ${P_UNPARSED_ARGUMENTS})
  target_link_libraries(plugin_${name} PRIVATE cvr::plugin ${P_LIBS} m)
  if(TARGET cvr_compile)
    target_link_libraries(plugin_${name} PRIVATE cvr_compile)
  endif()
  target_compile_options(plugin_${name} PRIVATE ${P_OPTIONS})
  target_link_options(plugin_${name} PRIVATE -Wl,--version-script=${CVR_PLUGIN_MAP})
  if(NOT CVR_SANITIZE)
    target_link_options(plugin_${name} PRIVATE -Wl,-z,defs)
  endif()
  set_target_properties(plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name} C_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/cvrun)
  if((CVR_PLUGINS AND NOT name IN_LIST CVR_PLUGINS) OR name IN_LIST CVR_LEFT_OUT)
    set_target_properties(plugin_${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY CVR_PLUGINS plugin_${name})
  get_property(deferred GLOBAL PROPERTY CVR_MANIFEST_DEFERRED)
  if(NOT deferred)
    set_property(GLOBAL PROPERTY CVR_MANIFEST_DEFERRED ON)
    cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL cvr_write_manifest)
  endif()
  cvr_plugin_folder(folder)
  install(TARGETS plugin_${name} LIBRARY DESTINATION ${folder})
endfunction()

# Where a project's plugins are installed: cvrun's own beside libcvr, others in a folder of their own, which CVR_PLUGIN_PATH names,
# so that no manifest takes the place of another.
function(cvr_plugin_folder out)
  if(PROJECT_NAME STREQUAL "cvrun")
    set(${out} lib/cvrun PARENT_SCOPE)
  else()
    set(${out} lib/cvrun/${PROJECT_NAME} PARENT_SCOPE)
  endif()
endfunction()

# Writes lib/cvrun/plugins.ini for every plugin added so far; once.
function(cvr_write_manifest)
  if(TARGET cvr_manifest_file)
    return()
  endif()
  get_property(plugins GLOBAL PROPERTY CVR_PLUGINS)
  set(files)
  foreach(plugin ${plugins})
    list(APPEND files $<TARGET_FILE:${plugin}>)
  endforeach()
  set(manifest ${CMAKE_BINARY_DIR}/lib/cvrun/plugins.ini)
  add_custom_command(OUTPUT ${manifest} COMMAND cvr::manifest ${manifest} ${files} DEPENDS ${plugins} cvr::manifest
    COMMENT "Listing the plugins in plugins.ini" VERBATIM)
  add_custom_target(cvr_manifest_file ALL DEPENDS ${manifest})
  cvr_plugin_folder(folder)
  install(FILES ${manifest} DESTINATION ${folder})
endfunction()
