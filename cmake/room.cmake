# Rooms: each folder under src/ is one library, and sees only the headers of the rooms it is given.
#
# A header is included as "room/file.h". For every room a folder with one link, room -> src/room, is the only include
# path, so including from a room that is not among DEPS (or theirs) is a file not found.

# darkroom_room(NAME SOURCES ... [DEPS room ...] [LIBS target ...])
function(darkroom_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "darkroom_${name}")
  set(root "${CMAKE_BINARY_DIR}/rooms/${target}")
  get_filename_component(parent "${name}" DIRECTORY)
  file(MAKE_DIRECTORY "${root}/${parent}")
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/src/${name}" "${root}/${name}" SYMBOLIC)
  list(TRANSFORM ROOM_SOURCES PREPEND "${PROJECT_SOURCE_DIR}/src/${name}/")
  add_library(${target} STATIC ${ROOM_SOURCES})
  target_include_directories(${target} PUBLIC "${root}")
  string(REPLACE "/" "_" deps "${ROOM_DEPS}")
  list(TRANSFORM deps PREPEND darkroom_)
  target_link_libraries(${target} PUBLIC ${deps} ${ROOM_LIBS})
endfunction()

# -O3 for files of a room, src/ROOM/FILE, whose loops become vectors by it; with sanitizers nothing is gained.
function(darkroom_vectorise room)
  if(DARKROOM_SANITIZE)
    return()
  endif()
  foreach(file ${ARGN})
    set_source_files_properties(${PROJECT_SOURCE_DIR}/src/${room}/${file} PROPERTIES COMPILE_OPTIONS -O3)
  endforeach()
endfunction()
