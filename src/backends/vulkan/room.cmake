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
    pointwise.cc embed.cc linear.cc quantize.cc rows.cc attention.cc conv.cc
  DEPS ops LIBS ${CMAKE_DL_LIBS})
target_include_directories(darkroom_backends_vulkan SYSTEM PUBLIC ${VULKAN_INCLUDE})

# shaders/NAME.comp is compiled and embedded as kNameSpirv; the enumeration Shader and the table
# of all of them are made from the list of the files.
file(GLOB vulkan_shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backends/vulkan/shaders/*.comp)
set(made ${CMAKE_BINARY_DIR}/rooms/darkroom_backends_vulkan_made)
set(vulkan_enumerators "")
set(vulkan_declarations "")
set(vulkan_rows "")
foreach(source IN LISTS vulkan_shaders)
  get_filename_component(stem ${source} NAME_WE)
  string(REPLACE "_" ";" words ${stem})
  set(name k)
  foreach(word IN LISTS words)
    string(SUBSTRING ${word} 0 1 first)
    string(SUBSTRING ${word} 1 -1 rest)
    string(TOUPPER ${first} first)
    string(APPEND name ${first}${rest})
  endforeach()
  set(spirv ${made}/${stem}.spv)
  set(embedded ${made}/${stem}.cc)
  add_custom_command(OUTPUT ${embedded}
    COMMAND ${GLSLC} --target-env=vulkan1.2 -O -Werror -MD -MF ${spirv}.d -MT ${embedded} -o ${spirv} ${source}
    COMMAND ${CMAKE_COMMAND} -DFILE=${spirv} -DNAME=${name}Spirv -DHEADER=backends/vulkan/shader_list.h
            -DOUTPUT=${embedded} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPFILE ${spirv}.d DEPENDS ${source} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
  target_sources(darkroom_backends_vulkan PRIVATE ${embedded})
  string(APPEND vulkan_enumerators "  ${name},\n")
  string(APPEND vulkan_declarations "extern const std::string_view ${name}Spirv;\n")
  string(APPEND vulkan_rows "    {Shader::${name}, \"${stem}\", &${name}Spirv},\n")
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/shader_list.h.in ${made}/backends/vulkan/shader_list.h @ONLY)
target_include_directories(darkroom_backends_vulkan PUBLIC ${made})
