# The built program and library, installed and used as a stranger uses them.
add_test(NAME install COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_install.sh ${CMAKE_BINARY_DIR} ${PROJECT_SOURCE_DIR}
  ${CMAKE_COMMAND} ${CMAKE_C_COMPILER} "${DARKROOM_SANITIZE}")
