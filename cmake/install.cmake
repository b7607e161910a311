# The program, the libraries, their headers under include/retort, and a package for find_package(Retort) that offers
# Retort::kernels, Retort::engine and Retort::models.
include(CMakePackageConfigHelpers)
set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/Retort)

set_target_properties(retort_options PROPERTIES EXPORT_NAME options)
set_target_properties(retort_kernels PROPERTIES EXPORT_NAME kernels)
set_target_properties(retort_engine PROPERTIES EXPORT_NAME engine)
set_target_properties(retort_models PROPERTIES EXPORT_NAME models)
set(libraries retort_options retort_kernels retort_engine retort_models)
set(zlib_dependency "find_dependency(ZLIB)")
if(TARGET retort_zlib)  # fetched, so it is installed with us
  list(APPEND libraries retort_zlib)
  set(zlib_dependency "")
endif()

install(TARGETS retort RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
set(share ${PROJECT_BINARY_DIR}/share)
install(FILES ${share}/retort.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${share}/retort DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${share}/_retort DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${share}/retort.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(TARGETS ${libraries} EXPORT RetortTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY kernels engine models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/retort
        FILES_MATCHING PATTERN "*.h")
install(EXPORT RetortTargets NAMESPACE Retort:: DESTINATION ${package_directory})
configure_package_config_file(cmake/RetortConfig.cmake.in ${PROJECT_BINARY_DIR}/RetortConfig.cmake
                              INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/RetortConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/RetortConfig.cmake ${PROJECT_BINARY_DIR}/RetortConfigVersion.cmake
        DESTINATION ${package_directory})
