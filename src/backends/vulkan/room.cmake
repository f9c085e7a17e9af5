# The Vulkan backend. Headers and glslc are needed to build it, nothing to link: libvulkan is looked for when a device is
# asked for. Without them the room is a stub that says so.
set(DARKROOM_VULKAN AUTO CACHE STRING "Build the Vulkan backend: AUTO (if its headers and glslc are there), ON or OFF")
find_path(VULKAN_INCLUDE vulkan/vulkan_core.h)
find_program(GLSLC glslc)
set(missing)
if(NOT VULKAN_INCLUDE)
  list(APPEND missing "the Vulkan headers (Debian: libvulkan-dev)")
endif()
if(NOT GLSLC)
  list(APPEND missing "glslc (Debian: glslc)")
endif()
list(JOIN missing " and " missing)
set(DARKROOM_HAS_VULKAN ON CACHE INTERNAL "")
if(NOT DARKROOM_VULKAN)
  set(DARKROOM_HAS_VULKAN OFF CACHE INTERNAL "")
elseif(missing AND DARKROOM_VULKAN STREQUAL "AUTO")
  message(STATUS "Without the Vulkan backend: ${missing} not found")
  set(DARKROOM_HAS_VULKAN OFF CACHE INTERNAL "")
elseif(missing)
  message(FATAL_ERROR "DARKROOM_VULKAN is ${DARKROOM_VULKAN}, but not found: ${missing}")
endif()
if(NOT DARKROOM_HAS_VULKAN)
  darkroom_room(backends/vulkan SOURCES absent.cc DEPS ops)
  return()
endif()

darkroom_room(backends/vulkan
  SOURCES loader.cc check.cc device_info.cc instance.cc device.cc memory.cc transfers.cc pipelines.cc hazards.cc recorder.cc core.cc vulkan.cc
    pointwise.cc embed.cc linear.cc quantize.cc matrix.cc rows.cc attention.cc attention_matrix.cc conv.cc probe.cc
  DEPS ops LIBS ${CMAKE_DL_LIBS})
target_include_directories(darkroom_backends_vulkan SYSTEM PUBLIC ${VULKAN_INCLUDE})

# shaders/NAME.comp is compiled and embedded as kNameSpirv; the enumeration Shader and the table
# of all of them are made from the list of the files.
file(GLOB vulkan_shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backends/vulkan/shaders/*.comp)
set(made ${CMAKE_BINARY_DIR}/rooms/darkroom_backends_vulkan_made)
set(vulkan_enumerators "")
set(vulkan_declarations "")
set(vulkan_rows "")
# Embeds the file `spirv`, which the command BY makes, if there is one, with what it depends on in DEPFILE.
function(vulkan_embed stem spirv)
  cmake_parse_arguments(EMBED "" "DEPFILE" "BY;DEPENDS" ${ARGN})
  string(REPLACE "_" ";" words ${stem})
  set(name k)
  foreach(word IN LISTS words)
    string(SUBSTRING ${word} 0 1 first)
    string(SUBSTRING ${word} 1 -1 rest)
    string(TOUPPER ${first} first)
    string(APPEND name ${first}${rest})
  endforeach()
  set(embedded ${made}/${stem}.cc)
  if(EMBED_BY)
    set(make COMMAND ${EMBED_BY} -MD -MF ${EMBED_DEPFILE} -MT ${embedded})
    set(depfile DEPFILE ${EMBED_DEPFILE})
  endif()
  add_custom_command(OUTPUT ${embedded} ${make}
    COMMAND ${CMAKE_COMMAND} -DFILE=${spirv} -DNAME=${name}Spirv -DHEADER=backends/vulkan/shader_list.h
            -DOUTPUT=${embedded} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${EMBED_DEPENDS} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake ${depfile} VERBATIM)
  target_sources(darkroom_backends_vulkan PRIVATE ${embedded})
  set(vulkan_enumerators "${vulkan_enumerators}  ${name},\n" PARENT_SCOPE)
  set(vulkan_declarations "${vulkan_declarations}extern const std::string_view ${name}Spirv;\n" PARENT_SCOPE)
  set(vulkan_rows "${vulkan_rows}    {Shader::${name}, \"${stem}\", &${name}Spirv},\n" PARENT_SCOPE)
endfunction()

foreach(source IN LISTS vulkan_shaders)
  get_filename_component(stem ${source} NAME_WE)
  set(spirv ${made}/${stem}.spv)
  vulkan_embed(${stem} ${spirv} DEPENDS ${source} DEPFILE ${spirv}.d
    BY ${GLSLC} --target-env=vulkan1.2 -O -Werror -o ${spirv} ${source})
endforeach()
# Those with cooperative matrices are compiled already, by tools/matrix_spirv.sh: glslc does not know them everywhere.
file(GLOB vulkan_matrix_shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backends/vulkan/shaders/matrix/made/*.spv)
foreach(spirv IN LISTS vulkan_matrix_shaders)
  get_filename_component(stem ${spirv} NAME_WE)
  vulkan_embed(${stem} ${spirv} DEPENDS ${spirv})
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/shader_list.h.in ${made}/backends/vulkan/shader_list.h @ONLY)
target_include_directories(darkroom_backends_vulkan PUBLIC ${made})
